from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.toolkit.index.words import MAX_WORD_CHARS, Segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0-dimensional biomaterials show", ["0", "dimension", "biomateri", "show"]),
        ("ﬁne ＡＢＣ snake_case x1-y2 Café", ["fine", "abc", "snake", "case", "x1", "y2", "café"]),
        ("Кто написал «Войну»?", ["кто", "написал", "войну"]),
        ("《战国无双3》是由", ["战国", "无双", "3", "是", "由"]),
        ("日本で梅雨がないのは北海道", ["日本", "梅雨", "無い", "北海道"]),
        ("走っていた", ["走る", "居る"]),
        ("ไทย", ["ไท", "ทย"]),
        ("", []),
        ("... !? \n\t", []),
    ],
)
def test_a_text_is_cut_into_the_words_of_its_language(segmenter: Segmenter, text: str, words: list[str]) -> None:
    assert segmenter.words(text) == words


def test_a_sentence_without_spaces_is_never_one_word(segmenter: Segmenter) -> None:
    for text in ("黑豹队的防守丢了多少分", "日本で梅雨がないのは北海道とどこか"):
        assert max(map(len, segmenter.words(text))) <= 4
        assert len(segmenter.words(text)) > 3


def test_forms_of_a_word_are_one(segmenter: Segmenter) -> None:
    assert segmenter.words("Payments") == segmenter.words("payment")
    assert segmenter.words("走った")[0] == segmenter.words("走る")[0]


@given(st.text())
def test_any_text_gives_words_that_a_space_can_part(text: str) -> None:
    found = Segmenter().words(text)
    assert all(word and not word.isspace() and len(word) <= MAX_WORD_CHARS for word in found)
    assert " ".join(found).split() == found


def test_threads_may_share_it(segmenter: Segmenter) -> None:
    texts = [f"日本で{number} biomaterials 战国无双是由哪两个公司" for number in range(200)]
    alone = [segmenter.words(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(segmenter.words, texts)) == alone
