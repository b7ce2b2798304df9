from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.core.errors import InvalidTextError, TextTooLargeError
from farthing.core.settings import ServingSettings
from farthing.serving.text import clean as text_module
from farthing.serving.text.clean import clean_text, fit_text, without_invisible
from tiers import examples

# What is removed, in one expression, which takes time that grows with the square of a run of joiners.
REFERENCE = re.compile(
    "[\u200b\u2060\ufeff\u180e]+|(?:^|(?<=[\x00-\x7f]))[\u200c\u200d]+|[\u200c\u200d]+(?=[\x00-\x7f]|$)"
)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("\ufeffhello", "hello"),
        ("he\u200bllo\u2060", "hello"),
        ("\u200chello\u200d", "hello"),
        ("a\u200db", "ab"),
        ("\u200d", ""),
        ("plain", "plain"),
        ("  kept \n spaces\t", "  kept \n spaces\t"),
    ],
)
def test_invisible_debris_is_removed(raw: str, cleaned: str) -> None:
    assert clean_text(raw, 0, 1000) == cleaned


@pytest.mark.parametrize("text", ["👨\u200d👩\u200d👧", "می\u200cخواهم", "क्\u200dष"])
def test_joiners_that_mean_something_are_kept(text: str) -> None:
    assert clean_text(text, 0, 1000) == text


def test_lone_surrogate_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidTextError, match=r"Text 3 .* U\+D83D at character 2") as caught:
        clean_text("ab\ud83d", 3, 1000)
    assert caught.value.param == "input[3]"


def test_a_text_over_the_limit_is_refused_with_its_size() -> None:
    assert clean_text("a" * 1000, 0, 1000) == "a" * 1000
    with pytest.raises(TextTooLargeError, match=r"Text 3 has 1001 characters; at most 1000") as caught:
        clean_text("a" * 1001, 3, 1000)
    assert caught.value.param == "input[3]"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_cleaning_twice_changes_nothing_more_in_plain_text(text: str) -> None:
    once = clean_text(text, 0, 1000)
    assert len(once) <= len(text)
    assert all(character in text for character in once)


@pytest.mark.parametrize("piece_chars", [1, 2, 3, 5, 2**16])
def test_cleaning_in_pieces_removes_what_one_expression_removes(
    piece_chars: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "PIECE_CHARS", piece_chars)

    @settings(max_examples=examples(500))
    @given(st.text(st.sampled_from("aé你\n\u200b\ufeff\u200c\u200d👩"), max_size=14))
    def check(text: str) -> None:
        assert without_invisible(text) == REFERENCE.sub("", text)

    check()


@pytest.mark.parametrize(
    ("text", "num_left"),
    [
        ("é" + "\u200d" * 999_998 + "é", 1_000_000),
        ("a" + "\u200d" * 999_998 + "é", 2),
        ("é" + "\u200c" * 999_999, 1),
        ("\u200d" * 1_000_000, 0),
        ("\u200b" * 1_000_000, 0),
        ("\u200b\u200d" * 500_000, 499_999),
        ("é\u200d" * 500_000, 999_999),
        ("é\u200da" * 333_333, 666_666),
        ("é" + ("\u200d" * 70_000 + "é") * 14, 980_015),
    ],
    ids=range(9),
)
def test_cleaning_the_longest_text_takes_a_moment_whatever_it_holds(text: str, num_left: int) -> None:
    started_s = time.perf_counter()
    assert len(clean_text(text, 0, 1_000_000)) == num_left
    assert time.perf_counter() - started_s < 5


def test_a_text_and_its_prompt_have_one_limit() -> None:
    serving = ServingSettings(max_text_chars=100)
    assert fit_text("a" * 60, 3, serving, 40) == "a" * 60
    with pytest.raises(TextTooLargeError, match=r"Text 3 has 60 characters and the prompt before it 41; at most 100"):
        fit_text("a" * 60, 3, serving, 41)
