"""Several settings of an encoder on several sets, side by side.

In: vectors of the sets (`farthing.toolkit.evaluate.embed`) and what is varied. Out: a row for each set and setting,
with its figures and what it costs. Formats of weights are varied by whoever opens encoders (`farthing eval`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from farthing.core.errors import DimensionsError
from farthing.serving.vectors import finish_vectors
from farthing.toolkit.encoder import RequestEncoder
from farthing.toolkit.evaluate.embed import Embedded, embed_sets
from farthing.toolkit.evaluate.labels import label_figures
from farthing.toolkit.evaluate.pairs import pair_figures
from farthing.toolkit.evaluate.retrieval import Search, retrieval_figures, searcher
from farthing.toolkit.evaluate.sets.find import LabelledSet
from farthing.toolkit.evaluate.sets.labels import LabelSet
from farthing.toolkit.evaluate.sets.pairs import PairSet
from farthing.toolkit.evaluate.sets.retrieval import RetrievalSet
from farthing.toolkit.evaluate.translation import translation_figures

# The figure of each kind of set that stands for it where there is room for one.
MAIN_FIGURES = {"retrieval": "nDCG@10", "similarity": "Spearman", "labels": "accuracy", "translation": "top-1 mean"}
BYTES_A_NUMBER = 4  # fp32


@dataclass(frozen=True)
class Memory:
    """
    Attributes:
        planned_bytes: the most that the plan counts, of the whole process with Python and torch, on a card of the
            card's memory.
        measured_bytes: by which the process's resident memory had grown when the sets were embedded, without their
            vectors; None where nobody measured it.
    """

    planned_bytes: int
    measured_bytes: int | None


@dataclass(frozen=True)
class Row:
    """One setting on one set.

    Attributes:
        kind: of the set: "retrieval", "similarity", "labels", "translation".
        format: of the weights, or whatever tells this encoder from others; "" where there is one.
        search: how documents were searched; None of sets that are not searched.
        figures: by name, from 0 to 1 (correlations from -1).
        num_texts: of the set.
        num_kept: of these, whose vectors and time come from an earlier run.
        texts_per_s: embedded, many at once.
        one_text_ms: to embed one text, of a retrieval set a query, alone.
        search_ms: for one query's documents (`retrieval.DEPTH`), without embedding it.
        query_ms: the same with embedding the query alone, where the search needs its vector.
        vector_bytes: of one vector, in fp32.
        memory: of the model; None where it is not in this process.
    """

    set: str
    kind: str
    format: str
    instruction: str | None
    dimensions: int
    search: str | None
    figures: dict[str, float]
    num_texts: int
    num_kept: int
    texts_per_s: float
    one_text_ms: float
    search_ms: float | None
    query_ms: float | None
    vector_bytes: int
    memory: Memory | None

    @property
    def main_figure(self) -> float:
        return self.figures[MAIN_FIGURES[self.kind]]


def evaluate(
    encoder: RequestEncoder,
    sets: Sequence[LabelledSet],
    *,
    instructions: Sequence[str | None] = (None,),
    dimensions: Sequence[int] = (),
    searches: Sequence[Search] = (Search(),),
    keep: Path | None = None,
    show_progress: bool = False,
) -> list[Row]:
    """Figures of every set for every combination of what is given.

    Args:
        instructions: tasks in words, put before all texts but documents; None for the model's own prompts.
        dimensions: to cut vectors to; none for the full ones.
        searches: ways to search retrieval sets.
        keep: a folder for vectors, for the next run.

    Raises:
        DimensionsError: one of `dimensions` is more than the model has.
        MissingExtraError: a package that a set's figures need is not installed.
        What `Encoder.encode` raises.
    """
    check_dimensions(encoder, dimensions)
    embedded = embed_sets(encoder, sets, instructions, keep=keep, show_progress=show_progress)
    return list(rows_of(embedded, dimensions, searches, show_progress=show_progress))


def check_dimensions(encoder: RequestEncoder, dimensions: Sequence[int]) -> None:
    """Raises `DimensionsError`."""
    for wanted in dimensions:
        if not 1 <= wanted <= encoder.dimensions:
            raise DimensionsError(
                f"dimensions is {wanted}; this model has 1 to {encoder.dimensions}.", param="dimensions"
            )


def rows_of(
    embedded: Sequence[Embedded],
    dimensions: Sequence[int],
    searches: Sequence[Search],
    *,
    format: str = "",
    memory: Memory | None = None,
    show_progress: bool = False,
) -> Iterator[Row]:
    """Rows of sets whose vectors are there, in the order of the sets. Raises as `evaluate`."""
    for found in embedded:
        full = next(iter(found.parts.values())).rows.shape[1]
        for length in dimensions or (full,):
            cut = {name: finish_vectors(part.rows, length, normalize=True) for name, part in found.parts.items()}
            for search, figures, search_ms in measured(found.data, cut, searches, show_progress=show_progress):
                embedding_ms = found.one_text_ms if search and search.uses_vectors else 0.0
                yield Row(
                    set=found.data.name,
                    kind=found.data.kind,
                    format=format,
                    instruction=found.instruction,
                    dimensions=length,
                    search=search.name if search else None,
                    figures=figures,
                    num_texts=found.num_texts,
                    num_kept=found.num_kept,
                    texts_per_s=found.texts_per_s,
                    one_text_ms=found.one_text_ms,
                    search_ms=search_ms,
                    query_ms=None if search_ms is None else embedding_ms + search_ms,
                    vector_bytes=BYTES_A_NUMBER * length,
                    memory=memory,
                )


def measured(
    data: LabelledSet, vectors: dict[str, np.ndarray], searches: Sequence[Search], *, show_progress: bool
) -> Iterator[tuple[Search | None, dict[str, float], float | None]]:
    """(way of searching, figures, milliseconds a search); one of sets that are not searched."""
    if isinstance(data, RetrievalSet):
        with searcher(data, vectors["queries"], vectors["documents"], show_progress=show_progress) as search:
            for way in searches:
                found, milliseconds = search(way)
                yield way, retrieval_figures(data, found), milliseconds
    elif isinstance(data, PairSet):
        yield None, pair_figures(vectors["first"], vectors["second"], data.scores), None
    elif isinstance(data, LabelSet):
        yield None, label_figures(vectors["train"], data.train_labels, vectors["test"], data.test_labels), None
    else:
        texts = (data.source.texts, data.target.texts)
        yield None, translation_figures(vectors["source"], vectors["target"], *texts), None
