from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import retrieval_quality
from farthing import Embedder
from retrieval_quality import RetrievalSet, Vectors, compare, embed, first_documents, ndcg, read_set


def test_ndcg_is_what_a_calculation_by_hand_gives() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.4, 0.3, 0.2]])
    relevance = np.array([[0, 1, 0, 1], [0, 2, 0, 1]])
    # First query: found at ranks 2 and 4 instead of 1 and 2. Second: grade 2 at rank 1, grade 1 at 3 instead of 2.
    first = (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    second = (2 + 1 / np.log2(4)) / (2 + 1 / np.log2(3))
    np.testing.assert_allclose(ndcg(scores, relevance), [first, second], rtol=1e-6)


def test_ndcg_counts_nothing_behind_the_tenth_place() -> None:
    scores, relevance = -np.arange(12.0)[None], np.zeros((1, 12))
    relevance[0, 10] = 1
    assert ndcg(scores, relevance) == 0
    relevance[0, 9] = 1
    np.testing.assert_allclose(ndcg(scores, relevance), 1 / np.log2(11) / (1 + 1 / np.log2(3)))


def test_a_set_is_read_with_titles_and_without_queries_that_nothing_answers(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text(
        '{"_id": "7", "title": "Wren", "text": "A small bird."}\n{"_id": "8", "text": "A coin."}\n'
    )
    (tmp_path / "queries.jsonl").write_text('{"id": "a", "text": "bird"}\n{"id": "b", "text": "money"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\na\t7\t1\n")
    data = read_set(tmp_path)
    assert data.documents == ["Wren A small bird.", "A coin."]
    assert data.queries == ["bird"]
    assert data.relevance.tolist() == [[1, 0]]


def test_formats_are_compared_query_by_query_with_the_first() -> None:
    right, wrong = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1]
    data = RetrievalSet(["one", "two"], ["1", "2"], np.eye(2))
    first, same, half, none = compare(
        data, [Vectors(right, queries, 0) for queries in (right, right, right[[0, 0]], wrong)]
    )
    assert first == same
    assert (first["ndcg"], first["difference"], first["cosine_min"]) == (100, 0, 1)
    lost = 100 - 100 / np.log2(3)  # of a query whose document is second
    assert (half["difference"], half["standard_error"]) == pytest.approx((-lost / 2, lost / 2))
    assert (none["difference"], none["standard_error"]) == pytest.approx((-lost, 0))
    assert (none["cosine_mean"], none["cosine_min"]) == (0.5, 0)


def test_fewer_documents_are_all_that_answer_a_query_and_the_first_others() -> None:
    relevance = np.zeros((2, 5), np.float32)
    relevance[0, 3], relevance[1, 1] = 1, 2
    data = RetrievalSet(list("abcde"), ["x", "y"], relevance)
    fewer = first_documents(data, 3)
    assert fewer.documents == ["a", "b", "d"]
    np.testing.assert_array_equal(fewer.relevance, relevance[:, [0, 1, 3]])
    assert first_documents(data, 1).documents == ["b", "d"]
    assert first_documents(data, 99).documents == data.documents


def test_a_run_that_was_broken_off_embeds_what_is_left(
    starter_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval_quality, "PIECE_TEXTS", 2)
    data = RetrievalSet(["a wren", "a coin", "a bird"], ["small"], np.ones((1, 3)))
    with Embedder(str(starter_dir)) as embedder:
        whole = embed(embedder, data, None)
        np.testing.assert_allclose(embed(embedder, data, tmp_path).all(), whole.all(), atol=1e-5)
        (tmp_path / "document-2.npy").unlink()
        np.save(tmp_path / "document-0.npy", np.zeros_like(whole.documents[:2]))
        again = embed(embedder, data, tmp_path)
    assert not again.documents[:2].any()
    np.testing.assert_allclose(again.documents[2:], whole.documents[2:], atol=1e-5)
