"""Retrieval: whether the documents that answer a query are found, and how early.

In: a set, vectors, and a way to search the documents. Out: nDCG@10, recall@10, recall@100 and MRR@10, by trec_eval
(pytrec_eval), and the time of a search. A search by vectors alone compares each query with every document. A search
that also counts words, or only words, goes through an index (`farthing.toolkit.index`) in a temporary folder.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from farthing.core.deferred import dataclass
from farthing.toolkit.evaluate.sets.retrieval import RetrievalSet
from farthing.toolkit.index.hybrid import Blend, by_both, by_vector, by_words
from farthing.toolkit.optional import needed
from farthing.toolkit.stores.passage import Passage

# Documents that each query asks for.
DEPTH = 100
MEASURES = {"ndcg_cut.10": "nDCG@10", "recall.10": "recall@10", "recall.100": "recall@100", "recip_rank": "MRR@10"}
QUERIES_AT_A_TIME, PASSAGES_AT_A_TIME = 256, 4096

Found = Sequence[Sequence[int]]  # for each query, the places of documents, best first


@dataclass(frozen=True)
class Search:
    """A way to search.

    Attributes:
        blend: how vectors and words are combined; None to compare vectors alone, without an index.
    """

    blend: Blend | None = None

    @property
    def name(self) -> str:
        if self.blend is None:
            return "vectors"
        if self.blend.fusion == "ranks":
            return "ranks"
        return {0.0: "words", 1.0: "vectors, index"}.get(self.blend.vector_weight, f"sum {self.blend.vector_weight:g}")

    @property
    def uses_vectors(self) -> bool:
        return self.blend is None or self.blend.fusion == "ranks" or self.blend.vector_weight > 0


def retrieval_figures(data: RetrievalSet, found: Found) -> dict[str, float]:
    """Return the figures, each a mean over the queries from 0 to 1. Documents count in the order they were found."""
    with needed("Measuring retrieval", "eval"):
        import pytrec_eval
    run = {
        query: {data.document_ids[place]: float(len(places) - rank) for rank, place in enumerate(places)}
        for query, places in zip(data.query_ids, found, strict=True)
    }
    grades = {query: dict(of_query) for query, of_query in data.grades.items()}
    results = pytrec_eval.RelevanceEvaluator(grades, set(MEASURES)).evaluate(run)
    figures = {}
    for measure, name in MEASURES.items():
        values = [results.get(query, {}).get(measure.replace(".", "_"), 0.0) for query in data.query_ids]
        # trec_eval has no depth for reciprocal ranks, so ranks beyond 10 are taken out here.
        figures[name] = float(np.mean([value if name != "MRR@10" or value >= 0.1 else 0.0 for value in values]))
    return figures


def by_comparing(queries: np.ndarray, documents: np.ndarray) -> Found:
    """Return the places of the `DEPTH` documents nearest to each query; of equally near ones the first comes first."""
    depth = min(DEPTH, len(documents))
    found: list[list[int]] = []
    for start in range(0, len(queries), QUERIES_AT_A_TIME):
        scores = queries[start : start + QUERIES_AT_A_TIME] @ documents.T
        nearest = np.sort(np.argpartition(-scores, depth - 1, axis=1)[:, :depth], axis=1)
        order = np.argsort(-np.take_along_axis(scores, nearest, axis=1), axis=1, kind="stable")
        found += np.take_along_axis(nearest, order, axis=1).tolist()
    return found


class IndexedSet:
    """A set's documents in an index, with their words.

    Raises `MissingExtraError` where LanceDB or a segmenter is not installed.
    """

    def __init__(self, data: RetrievalSet, vectors: np.ndarray, folder: Path, *, show_progress: bool = False) -> None:
        from farthing.toolkit.index.words import Segmenter
        from farthing.toolkit.stores.lance.store import LanceStore

        self._data, self._segmenter = data, Segmenter()
        self._store = LanceStore(folder, vectors.shape[1])
        bar = tqdm(total=len(data.documents), desc=f"Indexing {data.name}", unit=" texts", disable=not show_progress)
        with bar:
            for start in range(0, len(data.documents), PASSAGES_AT_A_TIME):
                places = range(start, min(start + PASSAGES_AT_A_TIME, len(data.documents)))
                passages = [Passage(str(place), str(place), "", "") for place in places]
                words = [" ".join(self._segmenter.words(data.documents.texts[place])) for place in places]
                self._store.put(passages, words, vectors[start : start + len(passages)])
                bar.update(len(passages))
        self._store.build()

    def search(self, queries: np.ndarray, blend: Blend, *, show_progress: bool = False) -> Found:
        """Return places as `by_comparing` does; a search for words alone may find fewer documents, or none."""
        asked: Iterable[tuple[str, np.ndarray]] = zip(self._data.queries.texts, queries, strict=True)
        description = f"Searching {self._data.name}, {Search(blend).name}"
        asked = tqdm(asked, total=len(queries), desc=description, unit=" queries", disable=not show_progress)
        return [self._places(text, vector, blend) for text, vector in asked]

    def _places(self, text: str, vector: np.ndarray, blend: Blend) -> list[int]:
        if blend.fusion == "sum" and blend.vector_weight == 1:
            hits = by_vector(self._store, vector, DEPTH)
        else:
            asked = self._segmenter.asked(text)
            if blend.fusion == "sum" and blend.vector_weight == 0:
                hits = by_words(self._store, asked.content, DEPTH)
            else:
                hits = by_both(self._store, vector, asked, DEPTH, blend=blend)
        return [int(hit.passage.id) for hit in hits]


Searcher = Callable[[Search], tuple[Found, float]]


@contextmanager
def searcher(
    data: RetrievalSet, queries: np.ndarray, documents: np.ndarray, *, show_progress: bool = False
) -> Iterator[Searcher]:
    """Give a function that searches the set in a given way, and says how many milliseconds a query took on average.

    The index is made when it is first needed, and removed at the end.
    """
    with tempfile.TemporaryDirectory() as folder:
        indexed: list[IndexedSet] = []

        def search(way: Search) -> tuple[Found, float]:
            if way.blend is not None and not indexed:
                indexed.append(IndexedSet(data, documents, Path(folder), show_progress=show_progress))
            started = time.perf_counter()
            if way.blend is None:
                found = by_comparing(queries, documents)
            else:
                found = indexed[0].search(queries, way.blend, show_progress=show_progress)
            return found, (time.perf_counter() - started) / len(queries) * 1e3

        yield search
