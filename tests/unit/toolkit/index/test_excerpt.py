from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.toolkit.index.excerpt import Excerpt, Wanted, is_of_lines
from farthing.toolkit.index.words import Segmenter
from tiers import examples

segmenter = Segmenter()


def marked(found: Excerpt) -> list[str]:
    return [found.text[first:last] for first, last in found.marks]


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("How to reset it: resetting resets.", "resets", ["reset", "resetting", "resets"]),
        ("A café in CAFÉ street", "Café", ["café", "CAFÉ"]),
        ("The cat sat on a mat.", "a cat on it", ["cat"]),
        ("An AI and an ant.", "AI", ["AI"]),
        ("请打开设置页面重置密码。", "如何重置登录密码", ["重置", "密码"]),
        ("東京都の人口は多い。", "東京の人口", ["東京", "人口"]),
        ("ราคาสินค้า", "สินค้า", ["สินค้า"]),
        ("nothing of it", "zebra", []),
        ("What that was, when you did this.", "when was that parcel sent", []),
        ("Where to send your parcels", "where can I send that parcel", ["send", "parcels"]),
        ("To be or not to be", "to be or not to be", ["not"]),
        ("怎么选择尺码?退款怎么办", "怎么退款", ["退款"]),
        ("怎么办", "怎么办", ["怎么办"]),
        ("", "zebra", []),
    ],
)
def test_words_of_the_query_are_marked_in_any_language(text: str, query: str, expected: list[str]) -> None:
    assert marked(Wanted(query, segmenter).excerpt(text)) == expected


def test_the_stretch_with_most_of_the_words_is_shown() -> None:
    text = "A wren. " + "Words of no use. " * 40 + "The wren has the loudest song of all. " + "And so on. " * 40
    found = Wanted("loudest song of the wren", segmenter).excerpt(text, 120)
    assert marked(found) == ["wren", "loudest", "song"]
    assert len(found.text) <= 120
    assert not found.is_start
    assert not found.is_end


def test_a_short_text_is_shown_whole_with_its_white_space_made_single() -> None:
    assert Wanted("two", segmenter).excerpt("one\n\n  two ") == Excerpt("one two", [(4, 7)], True, True)


def test_a_text_in_which_nothing_matches_is_shown_from_its_start() -> None:
    found = Wanted("zebra", segmenter).excerpt("word " * 200, 50)
    assert found.text.startswith("word word")
    assert (found.is_start, found.is_end) == (True, False)


@settings(max_examples=examples(60), deadline=None)
@given(st.text(max_size=400), st.text(min_size=1, max_size=20), st.integers(10, 100))
def test_an_excerpt_of_anything_is_a_part_of_it(text: str, query: str, length: int) -> None:
    found = Wanted(query, segmenter).excerpt(text, length)
    assert found.text in " ".join(text.split())
    assert len(found.text) <= length
    for first, last in found.marks:
        assert 0 <= first < last <= len(found.text)


def test_code_keeps_its_lines_without_their_common_indent() -> None:
    text = "\n    def wren():\n\tsing()\n        fly()\n" + "    pass  # filler\n" * 60
    found = Wanted("sing", segmenter).excerpt(text, 60, keeps_lines=True)
    assert found.text.splitlines()[:3] == ["def wren():", "sing()", "    fly()"]
    assert marked(found) == ["sing"]
    assert found.text.splitlines()[-1] == "pass  # filler"
    assert (found.is_start, found.is_end) == (True, False)


@settings(max_examples=examples(60), deadline=None)
@given(st.text("ab \n\t", max_size=400), st.integers(10, 100))
def test_an_excerpt_of_lines_is_no_longer_than_it_may_be(text: str, length: int) -> None:
    found = Wanted("ab", segmenter).excerpt(text, length, keeps_lines=True)
    assert len(found.text) <= length
    assert all(found.text[first:last] for first, last in found.marks)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("a/b.py:12", True), ("b.yaml:1", True), ("b.md:1", False), ("b.txt", False), ("x.jsonl:3", False), ("", False)],
)
def test_lines_of_code_and_settings_mean_something(source: str, expected: bool) -> None:
    assert is_of_lines(source) is expected
