"""How `farthing search` lays out what it found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.cli.search import in_lines
from farthing.toolkit.index.excerpt import Excerpt


def lines(text: str, width: int) -> list[str]:
    return in_lines(Excerpt(text, [], True, True), width).text.split("\n")


def test_long_lines_are_broken_between_words() -> None:
    assert lines("one two three four", 9) == ["one two", "three", "four"]
    assert lines("extraordinarily long", 5) == ["extraordinarily", "long"]
    assert lines("    return value + 1\nx", 12) == ["    return", "value + 1", "x"]


@pytest.mark.parametrize("width", [1, 7, 40])
@given(text=st.text("ab \n", max_size=200))
def test_only_spaces_are_replaced_so_that_marks_stay_right(width: int, text: str) -> None:
    broken = in_lines(Excerpt(text, [], True, True), width).text
    assert len(broken) == len(text)
    assert all(new == old or (old, new) == (" ", "\n") for old, new in zip(text, broken, strict=True))
