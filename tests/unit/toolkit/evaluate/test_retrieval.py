from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from farthing import Embedder
from farthing.toolkit.evaluate import retrieval
from farthing.toolkit.evaluate.retrieval import Search, by_comparing, retrieval_figures, searcher
from farthing.toolkit.evaluate.sets.find import find_sets
from farthing.toolkit.evaluate.sets.records import SetPart
from farthing.toolkit.evaluate.sets.retrieval import RetrievalSet
from farthing.toolkit.index.hybrid import Blend


def made(grades: dict[str, dict[str, int]], num_documents: int) -> RetrievalSet:
    ids = [f"d{place}" for place in range(num_documents)]
    documents, queries = SetPart(ids, "document", str), SetPart(list(grades), "query", str)
    return RetrievalSet("made", (), (None, None), list(grades), queries, ids, documents, grades)


def test_figures_are_what_a_calculation_by_hand_gives() -> None:
    data = made({"a": {"d1": 1, "d3": 1}, "b": {"d0": 2, "d2": 1}, "c": {"d9": 1}}, 10)
    figures = retrieval_figures(data, [[0, 1, 2, 3], [0, 1, 2], [4]])
    first = (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    second = (2 + 1 / np.log2(4)) / (2 + 1 / np.log2(3))
    assert figures["nDCG@10"] == pytest.approx((first + second + 0) / 3)
    assert figures["recall@10"] == figures["recall@100"] == pytest.approx((1 + 1 + 0) / 3)
    assert figures["MRR@10"] == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_what_stands_behind_the_tenth_place_counts_only_for_recall_at_100() -> None:
    data = made({"a": {"d10": 1}}, 200)
    places = list(range(100))
    assert retrieval_figures(data, [places]) == {"nDCG@10": 0, "recall@10": 0, "recall@100": 1, "MRR@10": 0}
    tenth = retrieval_figures(data, [places[1:]])
    assert (tenth["MRR@10"], tenth["recall@10"]) == (pytest.approx(0.1), 1)


def test_a_query_for_which_nothing_is_found_counts_as_nothing() -> None:
    figures = retrieval_figures(made({"a": {"d0": 1}, "b": {"d1": 1}}, 2), [[0], []])
    assert set(figures.values()) == {0.5}


def test_two_libraries_agree_on_ndcg() -> None:
    random = np.random.default_rng(0)
    queries, documents = random.normal(size=(20, 8)), random.normal(size=(30, 8))
    relevance = random.integers(0, 2, size=(20, 30))
    relevance[:, 0] = 1
    grades = {f"q{q}": {f"d{d}": int(grade) for d, grade in enumerate(row)} for q, row in enumerate(relevance)}
    figures = retrieval_figures(made(grades, 30), by_comparing(queries, documents))
    # Of grades 0 and 1 linear and exponential gain are the same.
    assert figures["nDCG@10"] == pytest.approx(ndcg_score(relevance, queries @ documents.T, k=10))


def test_comparing_finds_the_nearest_of_equal_ones_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    queries, documents = random.normal(size=(7, 4)), random.normal(size=(300, 4))
    documents[5] = documents[200]
    monkeypatch.setattr(retrieval, "QUERIES_AT_A_TIME", 3)
    expected = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :100]
    np.testing.assert_array_equal(by_comparing(queries, documents), expected)


def test_documents_are_searched_by_vectors_by_words_and_by_both(retrieval_dir: Path, starter: Embedder) -> None:
    (data,) = find_sets(retrieval_dir)
    assert isinstance(data, RetrievalSet)
    queries, documents = starter.encode(data.queries.texts), starter.encode(data.documents.texts)
    with searcher(data, queries, documents) as search:
        compared, milliseconds = search(Search())
        indexed, _ = search(Search(Blend("sum", 1.0)))
        words, _ = search(Search(Blend("sum", 0.0)))
        both, _ = search(Search(Blend("sum", 0.5)))
        ranks, _ = search(Search(Blend("ranks", 0.5)))
    assert indexed == compared
    assert milliseconds > 0
    # "bird" stands in the first two documents, "money" in none, "train" in the last; "the", in the first, is not asked.
    assert words == [[0, 1], [], [3]]
    assert [len(found) for found in both] == [4, 4, 4]
    assert [found[0] for found in both] == [found[0] for found in ranks] == [0, 2, 3]


def test_an_index_takes_a_set_in_parts(retrieval_dir: Path, starter: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "PASSAGES_AT_A_TIME", 3)
    (data,) = find_sets(retrieval_dir)
    assert isinstance(data, RetrievalSet)
    queries, documents = starter.encode(data.queries.texts), starter.encode(data.documents.texts)
    with searcher(data, queries, documents) as search:
        assert search(Search(Blend("sum", 0.0)))[0] == [[0, 1], [], [3]]


def test_a_way_to_search_has_a_name_and_says_whether_it_needs_a_vector() -> None:
    ways = [Search(), *(Search(Blend("sum", weight)) for weight in (0.0, 0.25, 1.0)), Search(Blend("ranks", 0.0))]
    assert [way.name for way in ways] == ["vectors", "words", "sum 0.25", "vectors, index", "ranks"]
    assert [way.uses_vectors for way in ways] == [True, False, True, True, True]
