"""Runs one search for duplicates as the command line asks for it.

In: texts, and the options that were given. Out: `Duplicates`. A model is opened only once for both sets.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from farthing.cli.common.data_options import opened_encoder
from farthing.core.deferred import dataclass
from farthing.core.resolve import Resolved
from farthing.toolkit.dedup.order import Keep, read_times
from farthing.toolkit.records.fields import require_field
from farthing.toolkit.records.skipped import Skipped

if TYPE_CHECKING:
    from farthing.toolkit.dedup.find import Duplicates, Vectors
    from farthing.toolkit.text_set import TextSet


def distance_of(threshold: float | None, cosine: float | None) -> float | None:
    """Return the greatest distance asked for, None for the default. Raises `click.UsageError` when both are given."""
    if cosine is None:
        return threshold
    if threshold is not None:
        raise click.UsageError("--threshold and --cosine say the same thing; give one of them.")
    return float((2 - 2 * cosine) ** 0.5)


@dataclass(frozen=True)
class DuplicateSearch:
    """A search as it was asked for. With neither `model` nor `vectors` it looks only for the same texts."""

    model: str | None
    vectors: Path | None
    against_vectors: Path | None
    threshold: float | None
    keep: Keep
    time_field: str | None

    def run(
        self, texts: TextSet, others: TextSet | None, settings: Resolved, untimed: Skipped, *, show_progress: bool
    ) -> Duplicates:
        """Run the search. `untimed` is told of records without a time.

        Raises the errors of reading or making vectors, and `InputError` where no record has a time.
        """
        from farthing.toolkit.text_set import embed_text_set, read_vectors

        times = None if self.time_field is None else times_of(texts, self.time_field, untimed)
        compare = partial(self.compare, texts, others, times, show_progress)
        if self.vectors is not None:
            other_vectors = read_vectors(self.against_vectors, others) if others and self.against_vectors else None
            return compare(read_vectors(self.vectors, texts), other_vectors)
        if self.model is None:
            return compare(None, None)
        with opened_encoder(self.model, settings) as encoder:

            def embed(data: TextSet) -> Vectors:
                return lambda rows: embed_text_set(encoder, data, indices=rows, show_progress=show_progress)

            return compare(embed(texts), embed(others or texts))

    def compare(
        self,
        texts: TextSet,
        others: TextSet | None,
        times: list[float] | None,
        show_progress: bool,
        vectors: Vectors | None,
        other_vectors: Vectors | None,
    ) -> Duplicates:
        from farthing.toolkit.dedup.find import DEFAULT_THRESHOLD, find_duplicates, find_repeats

        threshold = DEFAULT_THRESHOLD if self.threshold is None else self.threshold
        if others is None:
            return find_duplicates(
                texts.texts, vectors, threshold=threshold, keep=self.keep, times=times, show_progress=show_progress
            )
        return find_repeats(
            texts.texts, vectors, others.texts, other_vectors, threshold=threshold, show_progress=show_progress
        )


def times_of(texts: TextSet, field: str, untimed: Skipped) -> list[float]:
    """Read the times as `read_times` does; where no record has the field, the error says which fields there are."""
    values, is_there = [], False
    for record in map(json.loads, texts.json_objects()):
        values.append(record.get(field))
        is_there = is_there or field in record
    if values and not is_there:
        require_field(json.loads(next(iter(texts.json_objects()))), field, texts.place(0))
    return read_times(values, field, texts.place, untimed)
