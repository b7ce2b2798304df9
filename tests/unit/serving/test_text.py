from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.core.errors import InvalidTextError, TextTooLargeError
from farthing.serving.text import clean_text


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
