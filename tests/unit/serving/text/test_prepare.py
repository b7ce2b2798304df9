from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farthing.core.errors import (
    EmptyInputError,
    PromptTooLongError,
    TextTooLargeError,
    TextTooLongError,
    TextTooShortError,
)
from farthing.core.settings import ServingSettings
from farthing.serving.request import TextEnd
from farthing.serving.text.prepare import Input, Prepared, Preparer, Slice
from farthing.serving.text.tokenizer import TextTokenizer

END = 151643


@pytest.fixture(scope="module")
def tokenizer(tiny_qwen3: Path) -> TextTokenizer:
    return TextTokenizer(tiny_qwen3, vocab=151669, end_token="<|endoftext|>")


@pytest.fixture
def bert(starter_dir: Path) -> TextTokenizer:
    return TextTokenizer(starter_dir, vocab=30522, end_token=None)


def prepare(
    tokenizer: TextTokenizer, inputs: list[Input], *, start: int = 0, prefix: str = "", truncate: bool | None = None,
    settings: ServingSettings | None = None,
) -> Prepared:  # fmt: skip
    return Preparer(tokenizer, 8, settings or ServingSettings()).prepare(Slice(inputs, start, prefix, truncate))


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


@pytest.mark.parametrize("truncate", [True, False])
def test_a_prompt_that_leaves_no_room_is_refused_once_whatever_may_be_cut(
    tokenizer: TextTokenizer, truncate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tokenizer, "_ids", record(asked, tokenizer._ids))
    with pytest.raises(
        PromptTooLongError, match="The prompt has 8 tokens with the special ones; this model takes at most 8"
    ):
        prepare(tokenizer, ["x"] * 256, prefix="p" * 7, truncate=truncate)
    assert asked == ["p" * 7]
    assert prepare(tokenizer, ["x"], prefix="p" * 6).texts == ([112] * 6 + [120, END],)


def test_a_prompt_and_a_text_have_one_limit_of_characters(tokenizer: TextTokenizer) -> None:
    settings = ServingSettings(max_text_chars=10)
    with pytest.raises(TextTooLargeError, match="Text 1 has 8 characters and the prompt before it 3; at most 10"):
        prepare(tokenizer, ["x", "x" * 8], prefix="ppp", settings=settings)
    with pytest.raises(TextTooLargeError, match="Text 0 has 11 token ids; at most 10"):
        prepare(tokenizer, [[98] * 11], settings=settings)


def test_a_text_far_over_the_context_is_refused_by_a_part_of_it(bert: TextTokenizer) -> None:
    text = "wren " * 200_000
    with pytest.raises(
        TextTooLongError, match=r"Text 1 has at least \d+ tokens; this model takes at most 16"
    ) as caught:
        Preparer(bert, 16, ServingSettings()).prepare(Slice(["short", text], truncate=False))
    assert 16 < caught.value.num_tokens < 200_000


@pytest.mark.parametrize("where", ["end", "start"])
def test_of_a_text_that_is_cut_a_part_is_tokenised(
    bert: TextTokenizer, where: TextEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = " ".join(f"wren{number % 977}" for number in range(100_000))
    whole = bert.truncate(bert.encode(["query: " + text])[0], 16, where)
    asked: list[str] = []
    monkeypatch.setattr(bert, "_ids", record(asked, bert._ids))
    prepared = Preparer(bert, 16, ServingSettings()).prepare(Slice([text], 1, "query: ", True, where))
    assert prepared.texts == (whole,)
    assert prepared.truncated == (1,)
    assert sum(map(len, asked)) < 5000


def record(asked: list[str], real: Any) -> Any:
    def ids(texts: list[str], **rest: Any) -> Any:
        asked.extend(texts)
        return real(texts, **rest)

    return ids
