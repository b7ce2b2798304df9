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
        ("ภาษาไทย", []),
        ("", []),
    ],
)
def test_words_of_content_are_given_as_they_are_written(segmenter: Segmenter, text: str, written: list[str]) -> None:
    assert [as_written for _, as_written in segmenter.content_words(text)] == written


def test_forms_of_a_word_count_as_one(segmenter: Segmenter) -> None:
    assert segmenter.content_words("card") == [("card", "card")]
    assert segmenter.content_words("Cards") == [("card", "Cards")]
