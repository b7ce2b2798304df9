from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing import Embedder
from farthing.core.errors import ClosedError, InputError, SettingsError, TextTooLongError, TooManyTextsError
from farthing.serving.request import EmbedRequest


@pytest.fixture(scope="module")
def embedder(tiny_qwen3: Path) -> Iterator[Embedder]:
    with Embedder(str(tiny_qwen3), max_batch_tokens=256, context_length=64, max_texts_per_request=1000) as opened:
        yield opened


def test_one_text_gives_one_vector_and_a_list_a_matrix(embedder: Embedder) -> None:
    assert embedder.encode("text").shape == (64,)
    assert embedder.encode(["text"]).shape == (1, 64)
    assert embedder.encode([]).shape == (0, 64)
    assert embedder.encode([], dimensions=32).shape == (0, 32)


def test_vectors_are_float32_of_length_one(embedder: Embedder) -> None:
    vectors = embedder.encode(["a", "b c", "d e f"])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)


def test_dimensions_cut_and_normalise_again(embedder: Embedder) -> None:
    full, cut = embedder.encode("text"), embedder.encode("text", dimensions=32)
    assert cut == pytest.approx(full[:32] / np.linalg.norm(full[:32]), abs=1e-6)


def test_more_texts_than_a_slice_come_back_in_order(embedder: Embedder) -> None:
    texts = [f"text {number % 97}" for number in range(1500)]
    vectors = embedder.encode(texts)
    for index in (0, 255, 256, 1023, 1024, 1499):
        assert vectors[index] == pytest.approx(embedder.encode(texts[index]), abs=1e-5)


def test_async_and_sync_give_the_same(embedder: Embedder) -> None:
    texts = [f"text {number}" for number in range(600)]
    assert asyncio.run(embedder.encode_async(texts)) == pytest.approx(embedder.encode(texts), abs=1e-5)


def test_many_async_callers_each_get_their_own(embedder: Embedder) -> None:
    async def ask() -> list[np.ndarray]:
        return await asyncio.gather(*(embedder.encode_async(f"caller {number}") for number in range(64)))

    answers = asyncio.run(ask())
    for number in (0, 31, 63):
        assert answers[number] == pytest.approx(embedder.encode(f"caller {number}"), abs=1e-5)


def test_result_counts_tokens_and_names_what_was_cut(embedder: Embedder) -> None:
    result = embedder.embed(EmbedRequest(["ab", "x" * 100], truncate=True, dimensions=8))
    assert result.num_tokens == 3 + 64
    assert result.truncated == (1,)
    assert len(result.warnings) == 1


def test_error_in_a_late_slice_names_the_right_text_and_leaves_nothing_queued(embedder: Embedder) -> None:
    texts = ["fine"] * 700 + ["x" * 100]
    with pytest.raises(TextTooLongError) as caught:
        embedder.encode(texts)
    assert caught.value.index == 700
    assert embedder.encode("still works").shape == (64,)
    assert embedder.stats().waiting_texts == 0


def test_request_over_the_limit_is_refused_but_encode_takes_any_number(embedder: Embedder) -> None:
    with pytest.raises(TooManyTextsError, match="1001 texts; at most 1000"):
        embedder.embed(EmbedRequest(["x"] * 1001))


def test_cancelled_async_call_takes_its_texts_out_of_the_queue(embedder: Embedder) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(embedder.encode_async(["x" * 60] * 5000))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert embedder.stats().waiting_texts == 0

    asyncio.run(scenario())


def test_zero_vectors_for_short_texts(tiny_qwen3: Path) -> None:
    with Embedder(str(tiny_qwen3), short_text="zero") as embedder:
        vectors = embedder.encode(["", "text", " "])
        assert not vectors[[0, 2]].any()
        assert np.linalg.norm(vectors[1]) == pytest.approx(1, abs=1e-5)
        assert not embedder.encode("").any()


def test_stats_count_the_work(tiny_qwen3: Path) -> None:
    with Embedder(str(tiny_qwen3)) as embedder:
        embedder.encode(["ab", "c"])
        stats = embedder.stats()
    assert (stats.texts_total, stats.tokens_total, stats.batches_total) == (2, 5, 1)
    assert stats.batch_seconds_total > 0
    assert (stats.computed_tokens_total, stats.saved_tokens_total) == (5, 0)


@pytest.mark.parametrize(("share_prefixes", "num_saved"), [("on", 4 + 18), ("off", 4)])
def test_computed_tokens_are_told_from_saved_ones(tiny_qwen3: Path, share_prefixes: str, num_saved: int) -> None:
    with Embedder(str(tiny_qwen3), share_prefixes=share_prefixes, prefix_cache="0B") as embedder:
        texts = [
            "abc",
            "a common beginning",
            "abc",
            "a common beginning of two",
        ]
        result = embedder.embed(EmbedRequest(texts))
        stats = embedder.stats()
    num_tokens = sum(len(text) + 1 for text in texts)  # a token a letter, and one at the end
    assert (result.num_tokens, result.num_computed_tokens) == (num_tokens, num_tokens - num_saved)
    assert (stats.tokens_total, stats.saved_tokens_total) == (num_tokens, num_saved)
    assert stats.computed_tokens_total == num_tokens - num_saved


def test_closed_embedder_refuses_and_says_so(tiny_qwen3: Path) -> None:
    embedder = Embedder(str(tiny_qwen3))
    embedder.close()
    embedder.close()
    assert not embedder.health().ready
    with pytest.raises(ClosedError):
        embedder.encode("text")


def test_space_tells_models_apart_and_not_names(tiny_qwen3: Path, starter_dir: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tiny_qwen3)
    with Embedder(str(tiny_qwen3)) as one, Embedder(str(link)) as same, Embedder(str(starter_dir)) as other:
        assert one.space.id == same.space.id
        assert one.space.id != other.space.id


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"formt": "fp32"}, "Did you mean format"),
        ({"format": "nf5"}, "available: auto, none, fp32, bf16, fp16, int8, nf4, fp8"),
        ({"device": "tpu"}, "available: cpu"),
        ({"context_length": 10**6}, "positions reach 32768"),
        ({"context_length": 1}, "must be more"),
        ({"tensor_parallel_size": 2}, "at most 1"),
        ({"port": 1}, "Unknown setting port"),
    ],
)
def test_wrong_settings_say_what_is_right(tiny_qwen3: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Embedder(str(tiny_qwen3), **settings)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", None], "Text 1 is None; it must be a text (str), or a list of token ids."),
        (["a", float("nan")], "Text 1 is nan;"),
        ([b"a"], "Text 0 is b'a';"),
        ([{"text": "a"}], "Text 0 is {'text': 'a'};"),
        (None, "texts is None; it must be a text (str) or a list of texts."),
        ({"text": "a"}, "texts is {'text': 'a'};"),
    ],
)
def test_what_is_no_text_is_named_with_its_index(embedder: Embedder, texts: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        embedder.encode(texts)
    assert str(caught.value).startswith(message)
    with pytest.raises(InputError, match=re.escape(message)):
        asyncio.run(embedder.encode_async(texts))


def test_its_repr_says_what_it_is(embedder: Embedder) -> None:
    facts = f"dimensions={embedder.dimensions}, format={embedder.plan.format.name!r}, device='cpu'"
    assert repr(embedder) == f"Embedder({embedder.model!r}, {facts})"
