from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rerankers import write_reranker

from farthing import Embedder, Reranker
from farthing.core.errors import (
    ClosedError,
    EmptyInputError,
    InputError,
    InvalidTextError,
    QueryTooLongError,
    TextTooLongError,
    TextTooShortError,
    TokenizerError,
    TooManyTextsError,
    UnknownPromptError,
    WrongTaskError,
)
from farthing.serving.request import Ranked, RerankRequest, RerankResult
from farthing.serving.text.prepare import Slice
from farthing.serving.text.tokenizer import TextTokenizer

DOCUMENTS = ["a wren", "yes", "a wren", "no bird at all"]
CONTEXT = 400


@pytest.fixture(scope="module")
def reranker(tiny_reranker: Path) -> Iterator[Reranker]:
    with Reranker(str(tiny_reranker), context_length=CONTEXT, max_texts_per_request=1000) as opened:
        yield opened


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reranker("bert", tmp_path_factory.mktemp("models") / "bert")


def prepared(reranker: Reranker, query: str, documents: list[str], truncate: bool | None = None) -> Any:
    pairs = [(query, document) for document in documents]
    return reranker._preparer.prepare(Slice(pairs, prefix=reranker._template.instruction or "", truncate=truncate))


def test_a_long_document_loses_the_end_that_is_asked_for(reranker: Reranker) -> None:
    document = "a" * CONTEXT + "b" * CONTEXT
    whole = reranker._template.documents([document])[0]
    texts = {}
    for where in ("end", "start"):
        instruction = reranker._template.instruction or ""
        pair = reranker._preparer.prepare(Slice([("q", document)], 0, instruction, True, where))
        assert pair.truncated == (0,)
        texts[where] = pair.texts[0]
        assert len(texts[where]) == CONTEXT
    front, end = reranker._template.front("q", reranker._template.instruction or ""), reranker._template.end
    room = CONTEXT - len(front) - len(end)
    assert texts["end"] == [*front, *whole[:room], *end]
    assert texts["start"] == [*front, *whole[-room:], *end]


def assert_same(got: Sequence[Ranked], want: Sequence[Ranked]) -> None:
    """Scores come out a rounding apart when the batches differ."""
    assert [entry.index for entry in got] == [entry.index for entry in want]
    assert [entry.logit for entry in got] == pytest.approx([entry.logit for entry in want], abs=1e-5)


def test_the_best_comes_first_and_equal_ones_in_the_order_they_were_given(reranker: Reranker) -> None:
    ranking = reranker.rank("which bird?", DOCUMENTS)
    assert [entry.score for entry in ranking] == sorted((entry.score for entry in ranking), reverse=True)
    places = [entry.index for entry in ranking]
    assert sorted(places) == [0, 1, 2, 3]
    assert places.index(2) == places.index(0) + 1
    for entry in ranking:
        assert entry.score == pytest.approx(1 / (1 + np.exp(-entry.logit)), abs=1e-6)
        assert 0 <= entry.score <= 1
    assert_same(reranker.rank("which bird?", DOCUMENTS, top_n=2), ranking[:2])
    assert_same(reranker.rank("which bird?", DOCUMENTS, top_n=9), ranking)


def test_scores_are_those_of_the_ranking(reranker: Reranker) -> None:
    pairs = [("which bird?", document) for document in DOCUMENTS]
    scores, logits = reranker.score(pairs), reranker.score(pairs, raw_scores=True)
    assert (scores.dtype, scores.shape) == (np.float32, (4,))
    for entry in reranker.rank("which bird?", DOCUMENTS):
        assert (scores[entry.index], logits[entry.index]) == (
            pytest.approx(entry.score, abs=1e-6),
            pytest.approx(entry.logit, abs=1e-5),
        )


def test_scores_of_any_logit_are_from_0_to_1() -> None:
    result = RerankResult(np.array([-3e38, -800, 0, 800, 3e38], dtype=np.float32), 1, 1)
    assert result.scores.tolist() == [0, 0, 0.5, 1, 1]
    assert [entry.index for entry in result.ranking()] == [4, 3, 2, 1, 0]


def test_async_gives_the_same(reranker: Reranker) -> None:
    pairs = [(f"query {number % 3}", f"document {number}") for number in range(300)]
    assert asyncio.run(reranker.score_async(pairs)) == pytest.approx(reranker.score(pairs), abs=1e-5)
    ranking = asyncio.run(reranker.rank_async("which bird?", DOCUMENTS, top_n=2))
    assert_same(ranking, reranker.rank("which bird?", DOCUMENTS)[:2])


def test_all_documents_of_a_query_share_what_stands_before_them(reranker: Reranker) -> None:
    texts = prepared(reranker, "which bird?", ["a", " b", "\nc", "8"]).texts
    front = reranker._template.front("which bird?", reranker._template.instruction or "")
    assert len(front) > 100
    assert all(text[: len(front)] == front for text in texts)
    assert all(text[-len(reranker._template.end) :] == reranker._template.end for text in texts)


def test_only_the_document_is_cut(reranker: Reranker, bert: Path) -> None:
    with Reranker(str(bert), context_length=64) as other:
        for opened, context in ((reranker, CONTEXT), (other, 64)):
            long, short = "x" * 1000, "x"
            found = prepared(opened, "which bird?", [short, long])
            assert found.truncated == (1,)
            whole, cut = found.texts
            assert len(cut) == context
            num_end = len(opened._template.end)
            front = opened._template.front("which bird?", opened._template.instruction or "")
            assert cut[: len(front)] == whole[: len(front)] == front
            assert cut[-num_end:] == whole[-num_end:] == opened._template.end
            # The last that fits is whole; one token more is cut.
            room = context - len(front) - num_end
            lead = len(whole) - len(front) - num_end - 1
            assert prepared(opened, "which bird?", ["x" * (room - lead)]).truncated == ()
            assert prepared(opened, "which bird?", ["x" * (room - lead + 1)]).truncated == (0,)


def test_a_long_document_is_refused_where_nothing_may_be_cut(reranker: Reranker) -> None:
    with pytest.raises(
        TextTooLongError, match=f"document 1 has .* tokens; this model takes at most {CONTEXT}"
    ) as caught:
        reranker.rank("which bird?", ["short", "x" * 1000], truncate=False)
    assert (caught.value.index, caught.value.param) == (1, "documents")
    assert caught.value.num_tokens > 1000
    assert len(reranker.rank("which bird?", ["short", "x" * 1000])) == 2


def test_a_query_that_leaves_no_room_is_refused_with_its_length(reranker: Reranker) -> None:
    for truncate in (None, True, False):
        with pytest.raises(QueryTooLongError) as caught:
            reranker.rank("x" * CONTEXT, ["document"], truncate=truncate)
        assert caught.value.num_tokens > CONTEXT == caught.value.max_tokens


def test_more_pairs_than_a_slice_come_back_in_order(reranker: Reranker) -> None:
    pairs = [(f"query {number % 7}", f"text {number % 11}") for number in range(600)]
    scores = reranker.score(pairs)
    for index in (0, 255, 256, 511, 512, 599):
        assert scores[index] == pytest.approx(reranker.score([pairs[index]])[0], abs=1e-5)


@pytest.mark.parametrize(
    ("ask", "error", "param"),
    [
        (lambda r: r.rank("q", []), EmptyInputError, "documents"),
        (lambda r: r.score([]), EmptyInputError, "documents"),
        (lambda r: r.rank("", ["a"]), TextTooShortError, "query"),
        (lambda r: r.rank("\ufeff ", ["a"]), TextTooShortError, "query"),
        (lambda r: r.rank("q", ["a", " "]), TextTooShortError, "documents[1]"),
        (lambda r: r.rank("q\ud800", ["a"]), InvalidTextError, "query"),
        (lambda r: r.rank("q", ["a", "\ud800"]), InvalidTextError, "documents[1]"),
        (lambda r: r.rank("q", "a"), InputError, "documents"),
        (lambda r: r.rank("q", ["a"], top_n=0), InputError, "top_n"),
    ],
)
def test_what_cannot_be_scored_is_named(
    reranker: Reranker, ask: Callable[[Reranker], object], error: type[InputError], param: str
) -> None:
    with pytest.raises(error) as caught:
        ask(reranker)
    assert caught.value.param == param


def test_empty_texts_are_scored_where_short_ones_may_be(bert: Path, tiny_reranker: Path) -> None:
    for path in (bert, tiny_reranker):
        with Reranker(str(path), short_text="embed") as reranker:
            assert len(reranker.rank("", ["", "a"])) == 2


def test_a_request_over_the_limit_is_refused_but_rank_takes_any_number(reranker: Reranker) -> None:
    with pytest.raises(TooManyTextsError, match="1001 texts; at most 1000"):
        asyncio.run(reranker.rerank_async(RerankRequest([("q", "a")] * 1001)))


def test_a_model_without_instructions_says_so(bert: Path) -> None:
    with Reranker(str(bert)) as reranker, pytest.raises(UnknownPromptError, match="not trained with instructions"):
        reranker.rank("q", ["a"], instruction="find birds")


def test_a_separator_in_a_query_does_not_shift_the_types_of_tokens(bert: Path) -> None:
    with Reranker(str(bert)) as reranker:
        plain, typed = (prepared(reranker, query, ["doc[SEP]ument"]).texts[0] for query in ("ab", "a[SEP]b"))
    assert plain == typed
    assert plain.count(2) == 3  # behind the query, in the document, at the end


def test_a_model_for_vectors_is_refused_and_the_other_way_round(bert: Path, starter_dir: Path) -> None:
    with pytest.raises(WrongTaskError, match="makes vectors and scores no pairs"):
        Reranker(str(starter_dir))
    with pytest.raises(WrongTaskError, match="scores pairs of texts and makes no vectors"):
        Embedder(str(bert))


def test_an_embedding_model_of_the_reranker_s_architecture_is_refused(tiny_qwen3: Path, tmp_path: Path) -> None:
    """Both say Qwen3ForCausalLM; only the embedding model has a file that says how rows are pooled."""
    with pytest.raises(WrongTaskError, match="makes vectors"):
        Reranker(str(tiny_qwen3))


def test_a_tokenizer_without_a_template_for_pairs_is_refused(tiny_reranker: Path) -> None:
    tokenizer = TextTokenizer(tiny_reranker, vocab=151669, end_token=None)
    with pytest.raises(TokenizerError, match="no template for pairs"):
        tokenizer.pair_specials()


def test_stats_and_tokens_count_the_pairs(tiny_reranker: Path) -> None:
    with Reranker(str(tiny_reranker)) as reranker:
        result = asyncio.run(reranker.rerank_async(RerankRequest([("q", "abc"), ("q", "d")])))
        stats = reranker.stats()
    assert result.num_tokens == stats.tokens_total > 300
    assert stats.texts_total == 2


def test_a_closed_reranker_refuses_and_says_so(tiny_reranker: Path) -> None:
    with Reranker(str(tiny_reranker)) as reranker:
        pass
    assert not reranker.health().ready
    with pytest.raises(ClosedError):
        reranker.rank("q", ["a"])
