from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from few_documents import DOCUMENTS

from farthing import Embedder, Reranker
from farthing.core.errors import ClosedError, EmptyInputError, InputError, WrongSpaceError
from farthing.toolkit.documents.document import Document
from farthing.toolkit.index.hybrid import Blend
from farthing.toolkit.index.index import VectorIndex
from farthing.toolkit.index.result import SearchResult
from farthing.toolkit.index.search import Query, Ranker, search
from farthing.toolkit.index.words import Segmenter
from farthing.toolkit.stores.lance.database import LanceDatabase
from farthing.toolkit.stores.where import Condition


def documents(results: Sequence[SearchResult]) -> list[str]:
    return [result.passage.document for result in results]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_the_passage_that_says_it_comes_first(mode: str, index: VectorIndex, embedder: Embedder) -> None:
    query = Query("Wren\nThe wren is the smallest bird with the loudest song.", mode=mode)  # type: ignore[arg-type]
    first = search(index, query, embedder)[0]
    assert first.passage.document == "wren"
    assert first.passage.text == DOCUMENTS[0].text
    assert (first.cosine is None) == (mode == "keyword")
    assert (first.bm25 is None) == (mode == "vector")
    assert first.relevance is None


def test_chinese_is_found_by_its_words(index: VectorIndex) -> None:
    results = search(index, Query("忘记密码", mode="keyword"))
    assert documents(results) == ["密码"]
    marked = [results[0].excerpt.text[first:last] for first, last in results[0].excerpt.marks]
    assert marked == ["忘记", "密码", "密码"]


def test_the_best_passage_of_each_document_is_shown_unless_all_are_asked_for(
    index: VectorIndex, embedder: Embedder
) -> None:
    best = search(index, Query("tower"), embedder)
    every = search(index, Query("tower", all_passages=True), embedder)
    assert sorted(documents(best)) == sorted(document.id for document in DOCUMENTS)
    assert documents(every).count("tower") > 2
    assert next(result.passage.id for result in every if result.passage.document == "tower") in {
        result.passage.id for result in best
    }


def test_a_document_of_many_passages_does_not_crowd_out_the_others(index: VectorIndex, embedder: Embedder) -> None:
    index.add([Document("long", "crow crow crow. " * 4000)], embedder)
    assert documents(search(index, Query("crow", 2, mode="keyword")))[0] == "long"
    assert len(documents(search(index, Query("crow", 2, mode="keyword")))) == 2
    assert len(documents(search(index, Query("crow", 5, mode="vector"), embedder))) == 5


def test_no_more_results_than_asked_for(index: VectorIndex, embedder: Embedder) -> None:
    assert len(search(index, Query("bird", 2), embedder)) == 2


@pytest.mark.parametrize("mode", ["hybrid", "vector"])
def test_conditions_hold_for_every_result(mode: str, index: VectorIndex, embedder: Embedder) -> None:
    query = Query("bird", mode=mode, where=[Condition("grams", "<", 100)])  # type: ignore[arg-type]
    assert documents(search(index, query, embedder)) == ["wren"]


def test_the_blend_decides_the_order(index: VectorIndex, embedder: Embedder) -> None:
    by_words = search(index, Query("smallest", blend=Blend(vector_weight=0)), embedder)
    by_vector = search(index, Query("smallest", blend=Blend(vector_weight=1)), embedder)
    assert documents(by_words)[0] == "wren"
    assert documents(by_vector) == documents(search(index, Query("smallest", mode="vector"), embedder))


def test_an_instruction_changes_the_query_s_vector(index: VectorIndex, embedder: Embedder) -> None:
    plain, instructed = (
        search(index, Query("bird", mode="vector", instruction=instruction), embedder)
        for instruction in (None, "Find towers and passwords")
    )
    assert {item.passage.id: item.score for item in plain} != {item.passage.id: item.score for item in instructed}


class Score(NamedTuple):
    index: int
    score: float


class Longest:
    """Ranks by length, and keeps what it was asked."""

    def __init__(self) -> None:
        self.documents: Sequence[str] = ()

    def rank(self, query: str, documents: Sequence[str]) -> list[Score]:  # noqa: ARG002
        self.documents = documents
        return [
            Score(place, len(documents[place]) / 1000)
            for place in sorted(range(len(documents)), key=lambda place: -len(documents[place]))
        ]


def test_a_reranker_orders_the_best_anew_with_their_titles(index: VectorIndex, embedder: Embedder) -> None:
    ranker = Longest()
    results = search(index, Query("bird", 2), embedder, ranker)
    assert documents(results)[0] == "tower"
    assert len(results) == 2
    assert results[0].score == results[0].relevance == len(max(ranker.documents, key=len)) / 1000
    assert "Wren\nThe wren is the smallest bird with the loudest song." in ranker.documents


def test_a_real_reranker_is_a_ranker(index: VectorIndex, embedder: Embedder, tiny_reranker: object) -> None:
    with Reranker(str(tiny_reranker)) as opened:
        ranker: Ranker = opened
        results = search(index, Query("bird"), embedder, ranker)
        scores = [result.relevance or 0 for result in results]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 4


def test_nothing_found_is_no_error(index: VectorIndex, embedder: Embedder) -> None:
    assert search(index, Query("zebra", mode="keyword")) == []
    assert search(index, Query("bird", where=[Condition("grams", "<", 0)]), embedder, Longest()) == []


def test_an_empty_index_has_no_results(index: VectorIndex, embedder: Embedder) -> None:
    index.delete([document.id for document in DOCUMENTS])
    assert search(index, Query("bird"), embedder) == []


def test_an_encoder_of_another_space_is_refused(index: VectorIndex, starter_dir: object) -> None:
    with Embedder(str(starter_dir)) as other, pytest.raises(WrongSpaceError):
        search(index, Query("bird"), other)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"text": " "}, EmptyInputError),
        ({"text": "x", "num_results": 0}, InputError),
        ({"text": "x", "mode": "fuzzy"}, InputError),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(wrong: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        Query(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"text": "w" * 10_001}, "query", "The query has 10,001 characters; at most 10,000"),
        ({"text": "w", "instruction": "w" * 10_001}, "instruction", "The instruction has 10,001 characters"),
        ({"text": "w", "num_results": 1001}, "k", "1001 results were asked for; it must be from 1 to 1000"),
    ],
)
def test_a_query_has_limits_in_every_mode(asked: dict[str, Any], param: str, words: str, mode: Any) -> None:
    with pytest.raises(InputError, match=words) as raised:
        Query(**asked, mode=mode)
    assert raised.value.param == param


def test_a_query_is_cut_into_words_as_often_whatever_the_number_of_results(
    database: LanceDatabase, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = VectorIndex.create(database, embedder)
    index.add([Document(f"d{number}", f"zebra stripes {number}") for number in range(60)], embedder)
    text = "zebra " + " ".join(f"word{number}" for number in range(1000))
    num_cut, cut = Counter[int](), Segmenter.words

    def counted(segmenter: Segmenter, asked: str) -> list[str]:
        num_cut[num_results] += asked == text
        return cut(segmenter, asked)

    monkeypatch.setattr(Segmenter, "words", counted)
    for num_results in (1, 50):
        assert len(search(index, Query(text, num_results, "keyword"))) == num_results
    assert num_cut[1] == num_cut[50] <= 2


def test_a_query_as_long_as_can_be_is_answered(index: VectorIndex, embedder: Embedder) -> None:
    for letter in "あ猫aก":
        search(index, Query(letter * 10_000, 1000, "keyword"))


def test_a_search_that_nobody_waits_for_ends_at_its_next_step(index: VectorIndex, embedder: Embedder) -> None:
    steps = []

    def step() -> None:
        steps.append(1)
        if len(steps) == 3:
            raise ClosedError("stop")

    with pytest.raises(ClosedError):
        search(index, Query("tower crow wren", all_passages=True), embedder, on_step=step)
    assert len(steps) == 3


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition("gram", ">", 5), "has the field 'gram'; there are: grams, metres. Did you mean 'grams'?"),
        (Condition("Grams", ">", 5), "Did you mean 'grams'?"),
        (Condition("x" * 4000, "=", True), f"No document has the field '{'x' * 80}' ...; there are: grams, metres."),
        (Condition("grams", "<", "few"), "No document meets a condition with the value 'few': the field 'grams' holds "
         "numbers."),
        (Condition("metres", "=", True), "the field 'metres' holds numbers."),
    ],
)  # fmt: skip
def test_a_condition_that_no_document_can_meet_is_named(
    mode: Any, condition: Condition, message: str, index: VectorIndex, embedder: Embedder
) -> None:
    with pytest.raises(InputError) as caught:
        search(index, Query("the smallest bird", mode=mode, where=[Condition("grams", ">", 1), condition]), embedder)
    assert message in str(caught.value)
    assert caught.value.param == "where"


def test_what_lists_hold_is_named_too(index: VectorIndex, embedder: Embedder) -> None:
    index.add([Document("tit", "A small bird.", metadata={"sizes": [1, "small"], "grams": [9]})], embedder)
    for condition, message in (
        (Condition("sizes", "=", True), "the field 'sizes' holds texts and numbers."),
        (Condition("size", "=", 1), "has the field 'size'; there are: grams, metres, sizes. Did you mean 'sizes'?"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            search(index, Query("bird", where=[condition]), embedder)
    assert search(index, Query("bird", where=[Condition("sizes", "=", 2)]), embedder) == []


def test_a_condition_that_documents_could_meet_leaves_nothing(index: VectorIndex, embedder: Embedder) -> None:
    assert search(index, Query("bird", where=[Condition("grams", ">", 10**6)]), embedder) == []


def test_an_empty_index_has_no_fields_to_be_told(embedder: Embedder, tmp_path: Path) -> None:
    empty = VectorIndex.create(LanceDatabase(str(tmp_path / "empty")), embedder)
    assert search(empty, Query("bird", where=[Condition("grams", ">", 1)]), embedder) == []
