from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing import Embedder
from farthing.core.errors import InvalidTokenError, TextTooLargeError, TooManyTextsError, TooManyTokensError
from farthing.serving.text.token_lists import PART_TEXTS, parts_of
from farthing.serving.text.tokenizer import PIECE_CHARS

MOST = 1000


@pytest.fixture(scope="module")
def embedder(starter_dir: Path) -> Iterator[Embedder]:
    with Embedder(str(starter_dir), max_listed_tokens=MOST) as opened:
        yield opened


def listed(embedder: Embedder, texts: list[str], **asked: Any) -> tuple[list[Any], int]:
    return asyncio.run(embedder.tokenize_async(texts, list, **asked))


def test_tokens_are_those_of_each_text_in_order(embedder: Embedder) -> None:
    texts = [*(f"wren {number}" for number in range(200)), "", "\ufeffa\u200db"]
    found, num_tokens = listed(embedder, texts)
    assert found == embedder.tokenize(texts)
    assert num_tokens == sum(map(len, found)) <= MOST
    bare, num_bare = listed(embedder, texts, add_special_tokens=False)
    assert bare == embedder.tokenize(texts, add_special_tokens=False)
    assert num_bare == num_tokens - 2 * len(texts)
    assert bare[-1][0].text == "ab"


def test_what_is_made_of_the_tokens_is_all_that_is_kept(embedder: Embedder) -> None:
    assert asyncio.run(embedder.tokenize_async(["a wren", "a"], len)) == ([4, 3], 7)


@pytest.mark.parametrize(
    "texts", [["wren " * (MOST - 1)], ["wren"] * 334, ["wren " * 199_999] * 5, ["a" * 101 + " "] * 334, ["-" * 5000]]
)
def test_more_tokens_than_the_limit_are_refused_before_they_are_listed(
    embedder: Embedder, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert num_listed_before_refusal(embedder, texts, monkeypatch) <= MOST + 10


def test_bytes_that_are_tokens_count_before_they_are_listed(tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Embedder(str(tiny_qwen3), max_listed_tokens=MOST) as embedder:
        assert num_listed_before_refusal(embedder, ["\U0001f600" * MOST], monkeypatch) == 0


def num_listed_before_refusal(embedder: Embedder, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    num_listed = 0
    real = embedder.tokenizer.tokens

    def tokens(*args: Any, **rest: Any) -> Any:
        nonlocal num_listed
        for found in real(*args, **rest):
            num_listed += len(found)
            yield found

    monkeypatch.setattr(embedder.tokenizer, "tokens", tokens)
    with pytest.raises(TooManyTokensError, match=rf"at most {MOST} are taken at once \(max_listed_tokens\)") as caught:
        listed(embedder, texts)
    assert caught.value.param == "inputs"
    return num_listed


def test_texts_have_their_own_limits(embedder: Embedder) -> None:
    with pytest.raises(TextTooLargeError, match="Text 1 has 1000001 characters"):
        listed(embedder, ["a", "a" * 1_000_001])
    with pytest.raises(TooManyTextsError):
        listed(embedder, ["a"] * 8193)


def test_ids_become_texts_up_to_the_limit(embedder: Embedder) -> None:
    ids = [[101, 7592, 102], [1037]]
    assert asyncio.run(embedder.decode_async(ids)) == (["hello", "a"], 4)
    assert asyncio.run(embedder.decode_async(ids, skip_special_tokens=False))[0][0] == "[CLS] hello [SEP]"
    with pytest.raises(TooManyTokensError, match="has 1001 tokens or more; at most 1000") as caught:
        asyncio.run(embedder.decode_async([[7592] * 500, [7592] * 501]))
    assert caught.value.param == "ids"
    with pytest.raises(InvalidTokenError):
        asyncio.run(embedder.decode_async([[-1]]))


def test_parts_are_bounded_by_texts_and_characters() -> None:
    assert list(parts_of([], 5)) == []
    assert list(parts_of(["a"] * (PART_TEXTS + 1), 0)) == [(0, PART_TEXTS, PART_TEXTS), (PART_TEXTS, PART_TEXTS + 1, 1)]
    long, third = "a" * (2 * PIECE_CHARS), "a" * (PIECE_CHARS // 3)
    assert [part[:2] for part in parts_of([third, third, third, "b", long, "c"], 1)] == [(0, 2), (2, 4), (4, 5), (5, 6)]
