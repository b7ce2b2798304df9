from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from farthing import Embedder
from farthing.core.settings import CacheSettings, ServingSettings
from farthing.serving.cache.embedder import CachedEmbedder
from farthing.serving.cache.vectors import open_cache
from farthing.serving.request import EmbedRequest
from farthing.serving.text.vocabulary import LEAST_TOKENS, Unknown, VocabularyWatch, find_unknown

THAI = "ภาษาไทยเขียนติดกันโดยไม่มีช่องว่างระหว่างคำ"  # longer than the words that WordPiece looks at
UNKNOWN = ["a" * 150, "😀 😀", THAI * 4]


@pytest.fixture(scope="module")
def starter(starter_dir: Path) -> Iterator[Embedder]:
    with Embedder(str(starter_dir)) as embedder:
        yield embedder


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([[1, 9, 2], [1, 9, 9, 2], [1, 5, 9, 2], [1, 5, 2], [1, 2]], Unknown((7, 8), 4)),
        ([[1, 5, 2]], Unknown((), 0)),
        ([], Unknown((), 0)),
    ],
)
def test_texts_without_a_known_word_are_found(texts: list[list[int]], found: Unknown) -> None:
    indices = range(7, 7 + len(texts))
    assert find_unknown(texts, indices, unknown=9, others=2) == found
    assert find_unknown(texts, indices, unknown=None, others=2) == Unknown()


def test_a_request_says_which_of_its_texts_the_model_does_not_know(starter: Embedder) -> None:
    found = starter.encode_request(EmbedRequest(["a wren", *UNKNOWN, "a wren 😀"]))
    assert found.unknown.texts == (1, 2, 3)
    assert found.unknown.num_tokens == 1 + 2 + 1 + 1
    assert starter.encode_request(EmbedRequest([[100], [2005], [100, 100]])).unknown == Unknown((0, 2), 3)


def test_words_of_a_prompt_do_not_make_a_text_known(starter: Embedder) -> None:
    found = starter.encode_request(EmbedRequest(["a", *UNKNOWN], prompt="the title 😀: "))
    assert found.unknown.texts == (1, 2, 3)


def test_a_vocabulary_of_bytes_knows_all(tiny_qwen3: Path) -> None:
    with Embedder(str(tiny_qwen3)) as embedder:
        assert embedder.encode_request(EmbedRequest(UNKNOWN)).unknown == Unknown()


def test_what_is_unknown_is_kept_with_the_vector(starter: Embedder) -> None:
    async def both() -> list[tuple[int, ...]]:
        cache = open_cache(CacheSettings(), 2**20)
        assert cache is not None
        cached = CachedEmbedder(starter, cache, ServingSettings())
        request = EmbedRequest(["a wren", UNKNOWN[0]])
        first = await cached.embed_async(request)
        held = cached.check(request).result
        assert held is not None
        return [result.unknown.texts for result in (first, held, await cached.embed_async(request))]

    assert asyncio.run(both()) == [(1,)] * 3


def test_the_share_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = VocabularyWatch("starter")
    watch.note(LEAST_TOKENS - 1, Unknown((), LEAST_TOKENS // 2))
    assert not caplog.records
    for _ in range(3):
        watch.note(1, Unknown((), 0))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "100 of 200 tokens until now stand for words that the vocabulary of starter does not have" in record.message


def test_a_text_that_is_unknown_as_a_whole_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = VocabularyWatch("starter")
    watch.note(5000, Unknown((), 20))
    assert not caplog.records
    watch.note(2, Unknown((0,), 1))
    assert len(caplog.records) == 1
