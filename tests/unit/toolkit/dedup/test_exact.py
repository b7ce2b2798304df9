from __future__ import annotations

import pytest

from farthing.toolkit.dedup.exact import first_of_each, found_in, normalise


@pytest.mark.parametrize(
    "text",
    [
        "a  Wren\tsings\n",
        "A WREN SINGS",
        "ａ ｗｒｅｎ ｓｉｎｇｓ",
        "a\u200b wren sings\ufeff",
        "a\u00a0wren sings",
        "a wren\u3000sings",
    ],
)
def test_case_white_space_and_unicode_form_do_not_count(text: str) -> None:
    assert normalise(text) == "a wren sings"


@pytest.mark.parametrize(("one", "two"), [("a wren", "a wren?"), ("a wren", "awren"), ("resume", "résumé"), ("1", "2")])
def test_other_characters_count(one: str, two: str) -> None:
    assert normalise(one) != normalise(two)


@pytest.mark.parametrize(("one", "two"), [("ﬁne", "fine"), ("STRASSE", "straße"), ("e\u0301", "é"), ("ΟΔΟΣ", "οδος")])
def test_two_spellings_of_the_same_are_the_same(one: str, two: str) -> None:
    assert normalise(one) == normalise(two)


def test_joiners_that_make_another_word_are_kept() -> None:
    assert normalise("می\u200cخواهم") != normalise("میخواهم")


def test_each_text_points_to_the_first_in_the_order() -> None:
    texts = ["a", "b", "A", "a ", "B"]
    firsts, by_digest = first_of_each(texts, [4, 3, 2, 1, 0])
    assert firsts.tolist() == [3, 4, 3, 3, 4]
    assert found_in(["c", " b", "a"], by_digest).tolist() == [-1, 4, 3]


def test_what_is_no_text_is_left_to_what_embeds_it() -> None:
    firsts, _ = first_of_each(["\ud800", "\ud800"], range(2))
    assert firsts.tolist() == [0, 0]
