"""How much of a request is tokenised and held at once, and who waits for whom meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from farthing import Embedder, Reranker
from farthing.core.errors import PromptTooLongError, QueryTooLongError, TextTooLargeError
from farthing.serving.queue.estimates import SLICE_CHARS, SLICE_TEXTS
from farthing.serving.request import EmbedRequest, RerankRequest
from farthing.serving.text.pools import HUGE_CHARS, TokenizerPools
from farthing.serving.text.prepare import Slice
from farthing.serving.text.tokenizer import SHORT_CHARS

CONTEXT = 16


@pytest.fixture(scope="module")
def embedder(starter_dir: Path) -> Iterator[Embedder]:
    with Embedder(str(starter_dir), context_length=CONTEXT, tokenizer_threads=2) as opened:
        yield opened


@pytest.fixture
def slices(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Number of texts and of characters, prompts included, of each slice that is prepared."""
    seen: list[tuple[int, int]] = []
    real = embedder._preparer.prepare

    def prepare(part: Slice) -> Any:
        seen.append((len(part.inputs), sum(len(part.prefix) + len(text) for text in part.inputs)))
        return real(part)

    monkeypatch.setattr(embedder._preparer, "prepare", prepare)
    return seen


def test_a_slice_has_so_many_texts_or_characters(embedder: Embedder, slices: list[tuple[int, int]]) -> None:
    long = "a wren sings " * (SLICE_CHARS // 40)  # about a third of a slice
    inputs = ["short"] * (SLICE_TEXTS + 1) + [long] * 4 + [long * 5, "short"]
    result = asyncio.run(embedder.embed_async(EmbedRequest(inputs, truncate=True)))
    assert len(result.truncated) == 5
    assert [num_texts for num_texts, _ in slices] == [SLICE_TEXTS, 4, 1, 1, 1]
    assert sum(num_texts for num_texts, _ in slices) == len(inputs)
    assert all(num_texts == 1 or num_chars <= SLICE_CHARS for num_texts, num_chars in slices)
    assert result.text_tokens[:1] + result.text_tokens[-2:] == (3, CONTEXT, 3)


@pytest.mark.parametrize("normalize", [True, False])
def test_an_answer_keeps_no_more_than_its_own_vectors(embedder: Embedder, *, normalize: bool) -> None:
    result = embedder.encode_request(EmbedRequest(["a wren", "two wrens"], normalize=normalize))
    assert result.vectors.base is None  # else it would be a part of the rows of its whole batch


def test_a_prompt_counts_for_each_text(embedder: Embedder, slices: list[tuple[int, int]]) -> None:
    prompt = "\u0301" * (SLICE_CHARS // 4)  # a long prompt of one token: nothing but marks that are taken off
    result = asyncio.run(embedder.embed_async(EmbedRequest(["a wren"] * 10, prompt=prompt)))
    assert [num_texts for num_texts, _ in slices] == [3, 3, 3, 1]
    assert result.num_tokens == 10 * 4


def test_a_prompt_that_fills_the_context_costs_one_look(embedder: Embedder, slices: list[tuple[int, int]]) -> None:
    request = EmbedRequest([f"x{index}" for index in range(2000)], prompt="word " * 40_000, truncate=True)
    with pytest.raises(PromptTooLongError, match=f"at least .* takes at most {CONTEXT}"):
        asyncio.run(embedder.embed_async(request))
    assert len(slices) == 1
    with pytest.raises(TextTooLargeError, match="The prompt has 5000000 characters"):
        asyncio.run(embedder.embed_async(EmbedRequest(["x"], prompt="word " * 1_000_000)))


def test_the_tokens_of_finished_slices_are_not_kept(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    real = embedder._pipeline._prepare

    class Ids(list[int]):
        def __init__(self, ids: Sequence[int]) -> None:
            super().__init__(ids)
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    most = 0

    def prepare(item: Any) -> Any:
        nonlocal most
        running = real(item)
        object.__setattr__(running.prepared, "texts", tuple(map(Ids, running.prepared.texts)))
        running.job.texts = running.prepared.texts
        most = max(most, len(alive))
        return running

    monkeypatch.setattr(embedder._pipeline, "_prepare", prepare)
    result = asyncio.run(embedder.embed_async(EmbedRequest([f"text {number}" for number in range(12 * SLICE_TEXTS)])))
    assert len(result.text_tokens) == 12 * SLICE_TEXTS
    assert all(result.text_tokens)
    assert most <= 7 * SLICE_TEXTS


def test_a_query_is_tokenised_once_a_request_and_counts_for_each_document(
    tiny_reranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Reranker(str(tiny_reranker), context_length=400) as reranker:
        fronts: list[str] = []
        real = reranker._template.front

        def front(query: str, instruction: str) -> list[int]:
            fronts.append(query)
            return real(query, instruction)

        monkeypatch.setattr(reranker._template, "front", front)
        documents = [f"document {number}" for number in range(2 * SLICE_TEXTS)]
        asyncio.run(reranker.rerank_async(RerankRequest([("which bird?", document) for document in documents])))
        assert fronts == ["which bird?"]
        long = RerankRequest([("q" * (SLICE_CHARS // 2), document) for document in documents[:10]])
        assert [len(item.inputs) for item in reranker._pipeline(long)._slices(long, "")] == [1] * 10
        with pytest.raises(QueryTooLongError):
            asyncio.run(reranker.rerank_async(long))
        with pytest.raises(TextTooLargeError, match="The instruction has 1000001 characters"):
            asyncio.run(reranker.rerank_async(RerankRequest([("q", "d")], "x" * 1_000_001)))
        with pytest.raises(
            TextTooLargeError, match="has 600000 characters and the instruction 600000; at most 1000000"
        ):
            asyncio.run(reranker.rerank_async(RerankRequest([("q" * 600_000, "d")], "x" * 600_000)))


def test_short_work_never_waits_for_long_work() -> None:
    pools, go_on, order = TokenizerPools(1), threading.Event(), list[str]()

    def work(name: str) -> None:
        if name == "long":
            assert go_on.wait(30)
        order.append(name)

    long = [pools.pool("interactive", SHORT_CHARS + 1, 9).submit(work, "long") for _ in range(3)]
    pools.pool("interactive", SHORT_CHARS, 9).submit(work, "short").result(30)
    pools.pool("bulk", SHORT_CHARS + 1, 9).submit(work, "bulk").result(30)
    go_on.set()
    for future in long:
        future.result(30)
    assert order == ["short", "bulk", *["long"] * 3]
    pools.shutdown()


def test_huge_texts_are_tokenised_one_after_another_and_nobody_else_waits_for_them() -> None:
    pools, go_on = TokenizerPools(2), threading.Event()
    running = threading.Semaphore(0)

    def work() -> None:
        running.release()
        assert go_on.wait(30)

    huge = [pools.pool(lane, HUGE_CHARS + 1, HUGE_CHARS + 1).submit(work) for lane in ("interactive", "bulk")]  # type: ignore[arg-type]
    assert running.acquire(timeout=30)
    assert not running.acquire(timeout=0.2)
    pools.pool("interactive", 10 * HUGE_CHARS, HUGE_CHARS).submit(int).result(30)
    go_on.set()
    for future in huge:
        future.result(30)
    pools.shutdown()


def test_a_short_request_is_answered_while_long_ones_are_tokenised(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun = threading.Event(), threading.Semaphore(0)
    real = embedder._preparer.prepare

    def prepare(part: Slice) -> Any:
        if len(part.inputs[0]) > SHORT_CHARS:
            begun.release()
            assert go_on.wait(30)
        return real(part)

    monkeypatch.setattr(embedder._preparer, "prepare", prepare)

    async def scenario() -> None:
        long = EmbedRequest(["wren " * 10_000] * 19, truncate=True)
        others = [asyncio.create_task(embedder.embed_async(long)) for _ in range(3)]
        for _ in range(2):  # both threads for long texts are taken, and a third request waits for one
            assert await asyncio.to_thread(begun.acquire, True, 30)
        found = await asyncio.wait_for(embedder.embed_async(EmbedRequest(["short"])), 30)
        assert found.vectors.shape == (1, 384)
        assert not any(task.done() for task in others)
        go_on.set()
        await asyncio.gather(*others)

    asyncio.run(scenario())


def test_short_texts_are_tokenised_on_the_thread_that_asks_and_others_in_bounded_pieces(embedder: Embedder) -> None:
    tokenizer, asked = embedder.tokenizer, list[tuple[int, int]]()
    real = tokenizer._tokenizer

    class Library:
        """The library, and how much it was asked for at once. The true one cannot be changed."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def encode_batch_fast(self, texts: list[str], **rest: Any) -> Any:
            asked.append((len(texts), sum(map(len, texts))))
            return real.encode_batch_fast(texts, **rest)

    tokenizer._tokenizer = Library()  # type: ignore[assignment]
    try:
        tokenizer.encode(["short"] * 5)
        assert asked == [(1, 5)] * 5
        asked.clear()
        tokenizer.encode(["wren " * 10_000] * 5 + ["wren " * 40_000])
        assert asked == [(2, 100_000), (2, 100_000), (1, 50_000), (1, 200_000)]
    finally:
        tokenizer._tokenizer = real
