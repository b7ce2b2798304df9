from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.toolkit.spelling import (
    FIRST_BEYOND_ASCII,
    LAST_OF_SCRIPTS,
    compatible,
    marks,
    plain_form,
    ranges,
    search_form,
)


@pytest.mark.parametrize(
    "text",
    [
        "a  Wren\tsings\n",
        "A WREN SINGS",
        "ａ ｗｒｅｎ ｓｉｎｇｓ",
        "a\u200b wren sings\ufeff",
        "a\u00a0wren sings",
        "a wren\u3000sings",
        "a wr\u00aden sings\u200f",
        "\u2068a wren\u2069 \u202asings\u202c",
        "\U0001d41a wren sings\U000e0020",
    ],
)
def test_case_white_space_and_what_is_not_seen_do_not_count(text: str) -> None:
    assert plain_form(text) == "a wren sings"


@pytest.mark.parametrize(
    "unseen", "\u00ad\u200e\u200f\u202a\u202c\u202e\u2066\u2068\u2069\ufe0f\ufe0e\u034f\u061c\u2061\u2063\u115f\u3164"
)
def test_every_character_that_is_not_seen_is_evened_out(unseen: str) -> None:
    assert plain_form(f"I \u2764{unseen} it") == plain_form("I \u2764 it")
    assert search_form(f"wr{unseen}en") == "wren"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("a wren", "a wren?"),
        ("a wren", "awren"),
        ("resume", "résumé"),
        ("1", "2"),
        ("10² metres", "102 metres"),
        ("x₂", "x2"),
        ("™", "tm"),
        ("Ⅳ", "iv"),
        ("½ cup", "1⁄2 cup"),
        ("①", "1"),
        ("℃", "°c"),
        ("㎏", "kg"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\U0001f3f4"),
        ("می\u200cخواهم", "میخواهم"),
        ("किताब", "कताब"),
    ],
)
def test_other_characters_count(one: str, two: str) -> None:
    assert plain_form(one) != plain_form(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("ﬁne", "fine"),
        ("STRASSE", "straße"),
        ("e\u0301", "é"),
        ("ΟΔΟΣ", "οδος"),
        ("İstanbul", "istanbul"),
        ("ﾊﾟﾝ", "パン"),
        ("ﻣﺤﻤﺪ", "محمد"),
        ("wait…", "wait..."),
    ],
)
def test_two_spellings_of_the_same_are_the_same(one: str, two: str) -> None:
    assert plain_form(one) == plain_form(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Café", "cafe"),
        ("ĐÀ NẴNG", "da nang"),
        ("İstanbul", "istanbul"),
        ("ISPARTA", "ısparta"),
        ("מֹשֶׁה", "משה"),
        ("مُحَمَّد", "محمد"),
        ("مـحـمـد", "محمد"),
        ("Ёлка", "елка"),
        ("می\u200cخواهم", "میخواهم"),
        ("co\u00adoperate", "cooperate"),
        ("H₂O", "h2o"),
        ("㎏", "kg"),
        ("Ⅳ", "iv"),
    ],
)
def test_words_find_each_other_in_spite_of_points_and_forms(one: str, two: str) -> None:
    assert search_form(one) == search_form(two)


@pytest.mark.parametrize(
    ("one", "two"), [("10²", "102"), ("1½", "11⁄2"), ("мой", "мои"), ("किताब", "कताब"), ("が", "か")]
)
def test_words_that_are_others_do_not_find_each_other(one: str, two: str) -> None:
    assert search_form(one) != search_form(two)


@given(st.text())
def test_a_form_is_its_own_form(text: str) -> None:
    assert plain_form(plain_form(text)) == plain_form(text)
    assert unicodedata.is_normalized("NFC", search_form(text))


@pytest.mark.parametrize(
    "piece", ["²", "1²", "\u00ad", "\U0001f3f4\U000e0067", "a\u0301", "\u0301", "\u200d", "\U0001f3f4", "ﷺ"]
)
def test_the_time_grows_with_the_length_alone(piece: str) -> None:
    started = time.monotonic()
    for form in (plain_form, search_form):
        form(piece * 100_000)
    assert time.monotonic() - started < 20  # with a square in it: minutes


@pytest.mark.parametrize(("written", "kinds"), [("No", {"No"}), ("M[a-z]", {"Mn", "Mc", "Me"}), ("Nd", {"Nd"})])
def test_the_set_of_a_category_is_what_the_unicode_database_says(written: str, kinds: set[str]) -> None:
    expected = [char for char in map(chr, range(0x80, LAST_OF_SCRIPTS)) if unicodedata.category(char) in kinds]
    everything = "".join(map(chr, range(FIRST_BEYOND_ASCII, LAST_OF_SCRIPTS)))
    assert expected
    assert re.findall(f"[{ranges(written)}]", everything) == expected
    assert marks() == ranges("M[a-z]")


@given(st.text(st.characters(max_codepoint=127), max_size=40))
def test_short_ways_for_ascii_give_what_the_long_ones_give(text: str) -> None:
    beside = "é"  # makes a text take the long way, and joins with nothing before it
    assert compatible(f"{text} {beside}") == f"{compatible(text)} {beside}"
    assert search_form(f"{text} {beside}") == f"{search_form(text)} e"
