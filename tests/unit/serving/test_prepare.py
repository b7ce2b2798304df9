from __future__ import annotations

from pathlib import Path

import pytest

from farthing.core.errors import EmptyInputError, TextTooLongError, TextTooShortError
from farthing.core.settings import ServingSettings
from farthing.serving.prepare import Input, Prepared, Preparer
from farthing.serving.tokenizer import TextTokenizer

END = 151643


@pytest.fixture(scope="module")
def tokenizer(tiny_qwen3: Path) -> TextTokenizer:
    return TextTokenizer(tiny_qwen3, vocab=151669, end_token="<|endoftext|>")


def prepare(
    tokenizer: TextTokenizer, inputs: list[Input], *, start: int = 0, prefix: str = "", truncate: bool | None = None,
    settings: ServingSettings | None = None,
) -> Prepared:  # fmt: skip
    return Preparer(tokenizer, 8, settings or ServingSettings()).prepare(inputs, start, prefix, truncate)


def test_prompt_goes_before_texts_and_token_ids_alike(tokenizer: TextTokenizer) -> None:
    prepared = prepare(tokenizer, ["b", [98], [98, END]], prefix="a")
    assert prepared.texts == ([97, 98, END],) * 3
    assert prepared.num_tokens == 9


def test_text_over_the_context_is_refused_with_both_numbers(tokenizer: TextTokenizer) -> None:
    with pytest.raises(TextTooLongError) as caught:
        prepare(tokenizer, ["short", "x" * 20], start=100)
    assert (caught.value.index, caught.value.num_tokens, caught.value.max_tokens) == (101, 21, 8)
    assert "21 tokens" in str(caught.value)
    assert "at most 8" in str(caught.value)


@pytest.mark.parametrize(("default", "asked"), [(True, None), (False, True)])
def test_text_over_the_context_is_cut_when_allowed(tokenizer: TextTokenizer, default: bool, asked: bool | None) -> None:
    prepared = prepare(
        tokenizer, ["short", "x" * 20], start=100, truncate=asked, settings=ServingSettings(truncate=default)
    )
    assert prepared.texts[1] == [120] * 7 + [END]
    assert prepared.truncated == (101,)


def test_request_can_forbid_what_the_settings_allow(tokenizer: TextTokenizer) -> None:
    with pytest.raises(TextTooLongError):
        prepare(tokenizer, ["x" * 20], truncate=False, settings=ServingSettings(truncate=True))


@pytest.mark.parametrize("text", ["", "  \n", "\ufeff", "\u200b \u200b"])
def test_text_without_a_visible_character_is_refused(tokenizer: TextTokenizer, text: str) -> None:
    with pytest.raises(TextTooShortError, match="Text 1 has 0 visible characters; at least 1"):
        prepare(tokenizer, ["ok", text])


def test_short_texts_can_be_zero_vectors_or_embedded(tokenizer: TextTokenizer) -> None:
    zero = prepare(tokenizer, ["ok", "", "fine"], settings=ServingSettings(short_text="zero"))
    assert zero.places == (0, 2)
    embedded = prepare(tokenizer, ["ok", ""], settings=ServingSettings(short_text="embed"))
    assert embedded.texts[1] == [END]


def test_min_chars_counts_visible_characters(tokenizer: TextTokenizer) -> None:
    with pytest.raises(TextTooShortError, match="2 visible characters; at least 3"):
        prepare(tokenizer, [" ab "], settings=ServingSettings(min_chars=3))


def test_empty_list_of_token_ids_is_refused(tokenizer: TextTokenizer) -> None:
    with pytest.raises(EmptyInputError, match="Text 0"):
        prepare(tokenizer, [[]])
