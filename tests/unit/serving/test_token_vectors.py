"""Requests for a vector of every token: beside others, within their limit, and never out of a cache."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.core.errors import TooManyTokensError
from farthing.core.settings import EngineSettings, ServingSettings
from farthing.engine.runner import BatchOutput
from farthing.engine.swappable import LiveModel
from farthing.engine.weights.load import load_model
from farthing.serving.cache.embedder import CachedEmbedder
from farthing.serving.cache.memory import MemoryLevel
from farthing.serving.cache.vectors import VectorCache
from farthing.serving.queue.batch import Batch, Job
from farthing.serving.queue.token_counter import TokenCounter
from farthing.serving.request import EmbedRequest
from farthing.serving.text.prepare import Prepared, Slice

SERVING = ServingSettings(max_token_vectors=700, short_text="zero")
TEXTS = [f"text number {number}" for number in range(20)]  # of a token a letter, and one at the end


class Held:
    """The real model, that computes when it is let go and notes what."""

    def __init__(self, live: LiveModel) -> None:
        self._live = live
        self.go_on = threading.Event()
        self.batches: list[tuple[int, bool]] = []

    def run(self, texts: Sequence[Sequence[int]], per_token: bool = False) -> BatchOutput:
        assert self.go_on.wait(30)
        self.batches.append((len(texts), per_token))
        return self._live.run(texts, per_token)


@pytest.fixture(scope="module")
def live(tiny_qwen3: Path) -> LiveModel:
    return LiveModel(load_model(tiny_qwen3, EngineSettings(format="fp32")))


@pytest.fixture
def held(live: LiveModel) -> Held:
    return Held(live)


@pytest.fixture
def embedder(live: LiveModel, held: Held) -> Iterator[Embedder]:
    held.go_on.set()
    with Embedder.assemble("tiny", "test", live, SERVING, runner=held) as opened:
        yield opened


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition is another thread's
        await asyncio.sleep(0.01)


def per_token(texts: Sequence[str], **others: object) -> EmbedRequest:
    return EmbedRequest(texts, normalize=False, per_token=True, **others)  # type: ignore[arg-type]


def test_there_is_a_vector_for_every_token_of_each_text(embedder: Embedder) -> None:
    result = embedder.embed(per_token(["ab", "", "c"]))
    assert [rows.shape for rows in result.vectors] == [(3, 64), (0, 64), (2, 64)]
    assert result.num_tokens == 5
    pooled = embedder.encode(["ab", "c"], normalize=False)
    assert np.stack([result.vectors[0][-1], result.vectors[2][-1]]) == pytest.approx(pooled, abs=1e-5)


def test_they_can_be_cut_and_scaled(embedder: Embedder) -> None:
    (whole,) = embedder.embed(per_token(["some text"])).vectors
    (cut,) = embedder.embed(EmbedRequest(["some text"], dimensions=32, per_token=True)).vectors
    assert cut == pytest.approx(whole[:, :32] / np.linalg.norm(whole[:, :32], axis=1, keepdims=True), abs=1e-5)


def test_they_are_of_another_space_than_pooled_ones(embedder: Embedder) -> None:
    tokens, pooled = embedder.embed(per_token(["a"])).space, embedder.embed(EmbedRequest(["a"], normalize=False)).space
    assert (tokens.pooling, pooled.pooling) == ("none", "last")
    assert tokens.id != pooled.id


def test_requests_of_both_kinds_that_wait_together_get_what_they_get_alone(embedder: Embedder, held: Held) -> None:
    alone, tokens_alone = embedder.encode(TEXTS), embedder.embed(per_token(TEXTS)).vectors
    held.go_on.clear()

    async def scenario() -> None:
        first = asyncio.create_task(embedder.encode_async(["first"]))
        await until(lambda: embedder.stats().queue_waits_total == 3)  # the worker has it
        held.batches.clear()
        both = asyncio.gather(embedder.embed_async(per_token(TEXTS)), embedder.encode_async(TEXTS))
        await until(lambda: embedder.stats().waiting_texts == 2 * len(TEXTS))
        held.go_on.set()
        tokens, pooled = await both
        await first
        assert held.batches == [(1, False), (len(TEXTS), False), (len(TEXTS), True)]
        assert pooled == pytest.approx(alone, abs=1e-5)
        for found, wanted in zip(tokens.vectors, tokens_alone, strict=True):
            assert found == pytest.approx(wanted, abs=1e-4)

    asyncio.run(scenario())


def test_batches_of_one_kind_stay_whole_and_others_compute_no_more_than_was_counted() -> None:
    texts = [[1, 2, 3, 4, 5, number] for number in range(4)]
    pooled, tokens = Job(texts), Job(texts, per_token=True)

    def counter() -> TokenCounter:
        return TokenCounter(shares_prefixes=True)

    def batch_of(*jobs: Job) -> Batch:
        return Batch.of([(job, index) for job in jobs for index in range(4)], counter, is_full=True)

    for job in (pooled, tokens):
        whole = batch_of(job)
        assert whole.by_kind() == [whole]
    mixed = batch_of(tokens, pooled)
    parts = mixed.by_kind()
    assert [part.per_token for part in parts] == [False, True]
    assert [part.num_tokens for part in parts] == [mixed.num_tokens] * 2 == [9, 9]
    halves = parts[1].halves()
    assert halves is not None
    assert all(half.per_token for half in halves)


@pytest.mark.parametrize("num_texts", [50, 300])  # of one slice, and of two
def test_more_tokens_than_allowed_are_refused(embedder: Embedder, num_texts: int) -> None:
    assert len(embedder.embed(per_token(["x" * 13] * 50)).vectors) == 50  # 700 tokens
    with pytest.raises(TooManyTokensError, match="at most 700 get a vector each"):
        embedder.embed(per_token(["x" * (700 // num_texts)] * num_texts))
    assert embedder.stats().waiting_texts == 0


def test_a_request_that_is_computed_again_is_counted_once(
    embedder: Embedder, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprints, begun = iter(["before", "after", "after"]), threading.Event()
    real, prepare = held.run, embedder._preparer.prepare

    def changing(texts: Sequence[Sequence[int]], per_token: bool = False) -> BatchOutput:
        begun.set()
        output = real(texts, per_token)
        return BatchOutput(output.rows, output.errors, 0, next(fingerprints), output.computed)

    def prepare_when_begun(part: Slice) -> Prepared:
        if part.start:  # the second slice is not to come into the first one's batch
            assert begun.wait(30)
            held.go_on.set()
        return prepare(part)

    held.run = changing  # type: ignore[method-assign]
    monkeypatch.setattr(embedder._preparer, "prepare", prepare_when_begun)
    held.go_on.clear()
    result = embedder.embed(per_token(["x"] * 350))  # two slices; the first one's batch is of the weights before
    assert (result.num_tokens, len(held.batches), result.space.fingerprint) == (700, 3, "after")


def test_the_cache_is_passed_by(embedder: Embedder, held: Held) -> None:
    cached = CachedEmbedder(embedder, VectorCache(MemoryLevel(2**20)), SERVING)
    asyncio.run(cached.embed_async(EmbedRequest(["a"])))
    held.batches.clear()
    for _ in range(2):
        result = asyncio.run(cached.embed_async(per_token(["a"])))
        assert result.vectors[0].shape == (2, 64)
        assert (result.num_cached, result.num_uncached) == (0, 0)
    assert held.batches == [(1, True)] * 2
