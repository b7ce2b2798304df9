from __future__ import annotations

import pytest

from farthing.toolkit.index.words import Segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("How do I activate my new Cards, don't they work?", ["activate", "new", "Cards", "work"]),
        ("3 ＡＴＭ ﬁles in 2024", ["ATM", "files"]),
        ("我的信用卡已经丢失了", ["信用卡", "丢失"]),
        ("日本で梅雨がないのは北海道", ["日本", "梅雨", "北海道"]),
        ("走っている三匹の犬", ["走る", "犬"]),
        ("Кто написал «Войну»?", ["Кто", "написал", "Войну"]),
        ("top-up e-mail", ["top-up", "e-mail"]),
        ("a state\u2011of\u2010the-art T-shirt - how-to", ["state-of-the-art", "T-shirt", "how-to"]),
        ("2024-05-12 is -9-day, not card--refund-", ["9-day", "card", "refund"]),
        ("/how-to-change-my-lost-card", ["change", "lost", "card"]),
        ("Wi-Fi接続とe-mailを設定する", ["Wi-Fi", "接続", "e-mail", "設定"]),
        ("我的e-mail地址-密码", ["e-mail", "地址", "密码"]),
        ("मेरे माता-पिता", ["मेरे", "माता-पिता"]),
        ("كتاب-دليل جديد", ["كتاب-دليل", "جديد"]),
        ("ภาษาไทย-อีเมล", []),
        ("ภาษาไทย", []),
        ("", []),
    ],
)
def test_words_of_content_are_given_as_they_are_written(segmenter: Segmenter, text: str, written: list[str]) -> None:
    assert [as_written for _, as_written in segmenter.content_words(text)] == written


def test_forms_of_a_word_count_as_one(segmenter: Segmenter) -> None:
    assert segmenter.content_words("card") == [("card", "card")]
    assert segmenter.content_words("Cards") == [("card", "Cards")]
    assert segmenter.content_words("top-up") == [("top-up", "top-up")]
    assert segmenter.content_words("Topping\u2010ups") == [("top-up", "Topping-ups")]


def test_what_hyphens_join_is_one_word_to_read_and_several_to_search(segmenter: Segmenter) -> None:
    assert segmenter.words("top-up e-mail") == ["top", "up", "e", "mail"]
    assert segmenter.content_words("-".join(["card"] * 4)) == [("card-card-card-card",) * 2]
    assert segmenter.content_words("-".join(["card"] * 5)) == [("card", "card")] * 5
    assert segmenter.content_words(f"{'x' * 63}-card") == [("x" * 63, "x" * 63), ("card", "card")]
