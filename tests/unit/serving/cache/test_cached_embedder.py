"""A real small model behind the cache, with nothing but this process to keep vectors in."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing.core.errors import (
    DimensionsError,
    InputError,
    InvalidTextError,
    TextTooLongError,
    TextTooShortError,
    TooManyTextsError,
)
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings
from farthing.serving.cache import embedder as cached_module
from farthing.serving.cache.embedder import STEP_CHARS, CachedEmbedder, steps
from farthing.serving.cache.memory import MemoryLevel
from farthing.serving.cache.vectors import VectorCache
from farthing.serving.embedder import Embedder
from farthing.serving.request import CheckedRequest, EmbedRequest, EmbedResult
from farthing.serving.text.clean import clean_input

SERVING = ServingSettings(max_texts_per_request=1000)
TEXTS = ["one", "a second text", "and the third one of them"]


class Counting:
    """The backend, and what it was asked to compute."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.asked: list[EmbedRequest] = []
        self.fingerprint: str | None = None  # of what is computed, from the second request on that comes in

    def __getattr__(self, name: str) -> object:
        return getattr(self._embedder, name)

    def check(self, request: EmbedRequest) -> CheckedRequest:
        return self._embedder.check(request)

    async def embed_async(self, request: EmbedRequest) -> EmbedResult:
        return await self.compute(self.check(request))

    async def compute(self, checked: CheckedRequest) -> EmbedResult:
        self.asked.append(checked.request)
        result = await self._embedder.compute(checked)
        if self.fingerprint is None:
            return result
        return replace(result, space=replace(result.space, fingerprint=self.fingerprint))

    @property
    def asked_texts(self) -> list[list[object]]:
        return [list(request.inputs) for request in self.asked]


@pytest.fixture(scope="module")
def embedder(tiny_qwen3: Path) -> Iterator[Embedder]:
    engine = EngineSettings(context_length=64, share_prefixes="off")  # every token counts
    with Embedder.from_settings(str(tiny_qwen3), SourceSettings(), engine, SERVING) as opened:
        yield opened


@pytest.fixture
def backend(embedder: Embedder) -> Counting:
    return Counting(embedder)


@pytest.fixture
def cached(backend: Counting) -> CachedEmbedder:
    return before(backend)


def before(backend: Counting, cache: VectorCache | None = None, serving: ServingSettings = SERVING) -> CachedEmbedder:
    return CachedEmbedder(backend, cache or VectorCache(MemoryLevel(2**24)), serving)  # type: ignore[arg-type]


def ask(cached: CachedEmbedder, inputs: list[str], **others: object) -> EmbedResult:
    return asyncio.run(cached.embed_async(EmbedRequest(inputs, **others)))  # type: ignore[arg-type]


def test_a_text_is_computed_once_and_its_vector_is_the_same_bytes(cached: CachedEmbedder, backend: Counting) -> None:
    first, again = ask(cached, TEXTS), ask(cached, TEXTS)
    assert backend.asked_texts == [TEXTS]
    assert first.vectors.tobytes() == again.vectors.tobytes()
    assert (first.num_cached, first.num_uncached) == (0, 3)
    assert (again.num_cached, again.num_uncached) == (3, 0)
    assert first.num_tokens == again.num_tokens == first.num_computed_tokens > 0
    assert again.num_computed_tokens == 0
    assert first.space == again.space


def test_vectors_are_those_without_a_cache_but_for_rounding(cached: CachedEmbedder, embedder: Embedder) -> None:
    for _ in range(2):
        found = ask(cached, TEXTS)
        assert found.vectors == pytest.approx(embedder.encode(TEXTS), abs=1e-3)
        expected = embedder.embed(EmbedRequest(TEXTS))
        assert (found.num_tokens, found.space, found.text_tokens) == (
            expected.num_tokens,
            expected.space,
            expected.text_tokens,
        )


def test_only_what_is_missing_is_computed_and_order_is_kept(cached: CachedEmbedder, backend: Counting) -> None:
    ask(cached, [TEXTS[1]])
    found = ask(cached, [*TEXTS, TEXTS[0]])
    assert backend.asked_texts == [[TEXTS[1]], [TEXTS[0], TEXTS[2]]]
    assert (found.num_cached, found.num_uncached) == (1, 3)
    for place, text in enumerate([*TEXTS, TEXTS[0]]):
        assert found.vectors[place].tobytes() == ask(cached, [text]).vectors[0].tobytes()
    assert found.num_computed_tokens == found.text_tokens[0] + found.text_tokens[2]
    assert found.num_tokens == sum(found.text_tokens)


@pytest.mark.parametrize("dimensions", [1, 32, 63, 64, None])
@pytest.mark.parametrize("normalize", [True, False])
def test_one_entry_serves_all_dimensions_and_lengths(
    cached: CachedEmbedder, backend: Counting, dimensions: int | None, normalize: bool
) -> None:
    ask(cached, TEXTS)
    wanted = EmbedRequest(TEXTS, dimensions=dimensions, normalize=normalize)
    found = asyncio.run(cached.embed_async(wanted))
    assert len(backend.asked) == 1
    expected = asyncio.run(backend.embed_async(wanted))
    lengths = np.linalg.norm(expected.vectors, axis=1).max()
    assert found.vectors / lengths == pytest.approx(expected.vectors / lengths, abs=2e-3)
    assert (found.space, found.warnings) == (expected.space, expected.warnings)
    fresh = ask(before(backend), TEXTS, dimensions=dimensions, normalize=normalize)
    assert fresh.vectors.tobytes() == found.vectors.tobytes()


def test_prompts_share_no_vectors(cached: CachedEmbedder, embedder: Embedder) -> None:
    ways: list[dict[str, object]] = [{}, {"prompt": "query: "}, {"prompt": "query"}, {"instruction": "find"}]
    for _ in range(2):
        for way in ways:
            found = ask(cached, TEXTS, **way).vectors
            assert found == pytest.approx(embedder.encode(TEXTS, **way), abs=1e-3)  # type: ignore[arg-type]
    assert ask(cached, TEXTS, prompt="query: ").num_cached == 3


def test_models_share_no_vectors(backend: Counting, tiny_qwen3: Path) -> None:
    cache = VectorCache(MemoryLevel(2**24))
    ask(before(backend, cache), TEXTS)
    others = (EngineSettings(context_length=64, format="fp32"), EngineSettings(context_length=32))
    for engine in others:
        with Embedder.from_settings(str(tiny_qwen3), SourceSettings(), engine, SERVING) as other:
            found = ask(before(Counting(other), cache), TEXTS)
            assert found.num_cached == 0
            assert found.vectors == pytest.approx(other.encode(TEXTS), abs=1e-3)


def test_texts_that_differ_only_in_debris_are_one(cached: CachedEmbedder, backend: Counting) -> None:
    ask(cached, ["text"])
    assert ask(cached, ["\ufeffte\u200bxt"]).num_cached == 1
    assert ask(cached, ["text "]).num_cached == 0


def test_a_cut_text_is_no_hit_for_who_wants_it_whole(cached: CachedEmbedder, backend: Counting) -> None:
    long = "x" * 100
    for _ in range(2):
        found = ask(cached, ["ok", long], truncate=True)
        assert found.truncated == (1,)
        assert found.text_tokens[1] == 64
    assert len(backend.asked) == 1
    for truncate in (False, None):
        with pytest.raises(TextTooLongError):
            ask(cached, ["ok", long], truncate=truncate)


def test_an_error_names_the_index_in_the_request(cached: CachedEmbedder) -> None:
    ask(cached, TEXTS)
    with pytest.raises(TextTooLongError) as caught:
        ask(cached, [*TEXTS, *TEXTS, "x" * 100])
    assert caught.value.index == 6


REFUSED: list[tuple[dict[str, object], type[InputError]]] = [
    ({"inputs": ["one", " "]}, TextTooShortError),
    ({"inputs": ["one", "\ud800"]}, InvalidTextError),
    ({"inputs": ["one"], "dimensions": 65}, DimensionsError),
    ({"inputs": ["one"], "prompt": "a", "prompt_name": "b"}, InputError),
    ({"inputs": ["one"] * 1001}, TooManyTextsError),
]


@pytest.mark.parametrize(("fields", "error"), REFUSED)
def test_refusals_do_not_depend_on_the_cache(
    cached: CachedEmbedder, backend: Counting, fields: dict[str, object], error: type[InputError]
) -> None:
    ask(cached, TEXTS)
    request = EmbedRequest(**fields)  # type: ignore[arg-type]
    with pytest.raises(error) as expected:
        asyncio.run(backend.embed_async(request))
    with pytest.raises(error) as caught:
        asyncio.run(cached.embed_async(request))
    assert str(caught.value) == str(expected.value)


def test_zero_vectors_for_short_texts_are_neither_hit_nor_miss(tiny_qwen3: Path) -> None:
    serving = ServingSettings(short_text="zero")
    with Embedder.from_settings(str(tiny_qwen3), SourceSettings(), EngineSettings(format="fp32"), serving) as opened:
        backend = Counting(opened)
        cached = before(backend, serving=serving)
        for _ in range(2):
            found = ask(cached, ["", "text", " "])
            assert not found.vectors[[0, 2]].any()
            assert np.linalg.norm(found.vectors[1]) == pytest.approx(1, abs=1e-5)
            assert found.num_cached + found.num_uncached == 1
            assert found.text_tokens[0] == found.text_tokens[2] == 0
        assert not ask(cached, ["", " "]).vectors.any()
        assert len(backend.asked) == 1


def test_token_ids_pass_by(cached: CachedEmbedder, embedder: Embedder) -> None:
    ids = [[5, 6, 7]]
    for _ in range(2):
        found = asyncio.run(cached.embed_async(EmbedRequest(ids)))
        assert (found.num_cached, found.num_uncached) == (0, 0)
        assert found.vectors.tobytes() == embedder.embed(EmbedRequest(ids)).vectors.tobytes()


def test_no_texts_give_no_vectors(cached: CachedEmbedder) -> None:
    assert ask(cached, []).vectors.shape == (0, 64)


def test_when_the_weights_change_meanwhile_everything_is_computed(cached: CachedEmbedder, backend: Counting) -> None:
    ask(cached, TEXTS[:1])
    backend.fingerprint = "other weights"
    found = ask(cached, TEXTS)
    assert backend.asked_texts == [TEXTS[:1], TEXTS[1:], TEXTS]
    assert found.space.fingerprint == "other weights"
    backend.fingerprint = None
    assert ask(cached, TEXTS).num_cached == 1  # nothing of the other weights was kept


def test_many_texts_come_back_in_order_and_can_be_held_in_part(cached: CachedEmbedder, embedder: Embedder) -> None:
    texts = [f"text {number % 301}" for number in range(900)]
    ask(cached, texts[::7])
    found = ask(cached, texts)
    assert found.vectors == pytest.approx(embedder.encode(texts), abs=1e-3)
    assert ask(cached, texts).vectors.tobytes() == found.vectors.tobytes()


def test_hits_are_answered_without_waiting_for_anything(cached: CachedEmbedder) -> None:
    ask(cached, TEXTS)
    answer = cached.embed_async(EmbedRequest(TEXTS))
    assert inspect.isawaitable(answer)
    with pytest.raises(StopIteration) as ended:
        answer.send(None)  # what waits for something gives it out here
    assert ended.value.value.num_cached == 3


def test_a_cache_without_room_answers_all_the_same(backend: Counting) -> None:
    cached = before(backend, VectorCache(MemoryLevel(0)))
    first, again = ask(cached, TEXTS), ask(cached, TEXTS)
    assert len(backend.asked) == 2
    assert again.num_cached == 0
    assert first.vectors.tobytes() == again.vectors.tobytes()


def test_encode_of_the_model_itself_is_not_rounded(cached: CachedEmbedder, embedder: Embedder) -> None:
    assert ask(cached, TEXTS).vectors.tobytes() != embedder.encode(TEXTS).tobytes()


def test_large_texts_are_cleaned_and_hashed_in_threads_and_small_ones_at_once(
    cached: CachedEmbedder, backend: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def clean(*args: Any) -> Any:
        threads.append(threading.get_ident())
        return clean_input(*args)

    monkeypatch.setattr(cached_module, "clean_input", clean)
    own = {threading.get_ident()}
    small, large = ["a" * 1000] * 20, ["a" * 1000] * 70
    ask(cached, small, truncate=True)
    assert set(threads) == own
    assert cached.check(EmbedRequest(small, truncate=True)).result is not None
    threads.clear()
    for request in (EmbedRequest(large, truncate=True), EmbedRequest(small[:1], prompt="é" * 70_000, truncate=True)):
        assert cached.check(request).result is None
    assert threads == []
    found = ask(cached, large, truncate=True)
    assert (len(threads), found.num_cached) == (70, 70)
    assert not own & set(threads)
    assert found.vectors[0].tobytes() == ask(cached, small, truncate=True).vectors[0].tobytes()


def test_keys_of_large_requests_are_made_in_steps() -> None:
    assert list(steps([])) == []
    assert list(steps(["a" * STEP_CHARS, "b", "c" * STEP_CHARS, "d"])) == [(0, 1), (1, 3), (3, 4)]
