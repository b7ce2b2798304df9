"""Several settings of an encoder on several sets, side by side.

In: vectors of the sets (`farthing.toolkit.evaluate.embed`) and the settings to vary. Out: a row for each set and
setting, with its figures and its costs. The caller varies weight formats by opening several encoders (`farthing eval`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.errors import DimensionsError
from farthing.serving.vectors import finish_vectors
from farthing.toolkit.encoder import Encoder
from farthing.toolkit.evaluate.embed import Embedded, embed_sets
from farthing.toolkit.evaluate.labels import label_figures
from farthing.toolkit.evaluate.pairs import pair_figures
from farthing.toolkit.evaluate.retrieval import Search, retrieval_figures, searcher
from farthing.toolkit.evaluate.sets.find import LabelledSet
from farthing.toolkit.evaluate.sets.labels import LabelSet
from farthing.toolkit.evaluate.sets.pairs import PairSet
from farthing.toolkit.evaluate.sets.retrieval import RetrievalSet
from farthing.toolkit.evaluate.translation import translation_figures

# The figure that stands for each kind of set where there is room for only one.
MAIN_FIGURES = {"retrieval": "nDCG@10", "similarity": "Spearman", "labels": "accuracy", "translation": "top-1 mean"}
BYTES_A_NUMBER = 4  # fp32


@dataclass(frozen=True)
class Memory:
    """
    Attributes:
        planned_bytes: the peak that the plan counts, for the whole process with Python and torch; on a card, for the
            card's memory.
        measured_bytes: how much the process's resident memory had grown once the sets were embedded, without their
            vectors; None where it was not measured.
    """

    planned_bytes: int
    measured_bytes: int | None


@dataclass(frozen=True)
class Row:
    """One setting on one set.

    Attributes:
        kind: kind of the set: "retrieval", "similarity", "labels", "translation".
        format: weight format, or another name that tells this encoder from others; "" where there is only one.
        search: how documents were searched; None for sets that are not searched.
        figures: by name, from 0 to 1 (correlations from -1).
        num_texts: texts of the set.
        num_kept: texts of the set whose vectors and time come from an earlier run.
        texts_per_s: speed of embedding many texts at once.
        one_text_ms: time to embed one text alone (in a retrieval set, a query).
        search_ms: time to find one query's documents (`retrieval.DEPTH`), without embedding the query.
        query_ms: the same, plus embedding the query alone where the search needs its vector.
        vector_bytes: size of one vector in fp32.
        memory: memory of the model; None where the model is not in this process.
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
    encoder: Encoder,
    sets: Sequence[LabelledSet],
    *,
    instructions: Sequence[str | None] = (None,),
    dimensions: Sequence[int] = (),
    searches: Sequence[Search] = (Search(),),
    keep: Path | None = None,
    show_progress: bool = False,
) -> list[Row]:
    """Return a row of figures for every set with every combination of settings.

    Args:
        instructions: tasks in words, put before all texts but documents; None for the model's own prompts.
        dimensions: lengths to cut vectors to; empty for full vectors.
        searches: ways to search retrieval sets.
        keep: a folder in which vectors are kept for the next run.

    Raises:
        DimensionsError: one of `dimensions` is less than 1 or more than the model has.
        MissingExtraError: a package that a set's figures need is not installed.
        The errors of `Encoder.encode_request`.
    """
    check_dimensions(encoder, dimensions)
    embedded = embed_sets(encoder, sets, instructions, keep=keep, show_progress=show_progress)
    return list(rows_of(embedded, dimensions, searches, show_progress=show_progress))


def check_dimensions(encoder: Encoder, dimensions: Sequence[int]) -> None:
    """Raise `DimensionsError` when the encoder cannot make vectors of one of these `dimensions`."""
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
    """Yield the rows of embedded sets, in the order of the sets. Raises the errors of `evaluate`."""
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
    """Yield (way of searching, figures, milliseconds per search), once for a set that is not searched."""
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
