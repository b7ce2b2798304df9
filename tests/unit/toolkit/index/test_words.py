from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.toolkit.index.words import MAX_WORD_CHARS, PIECE_CHARS, Segmenter, pieces


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0-dimensional biomaterials show", ["0", "dimension", "biomateri", "show"]),
        ("ﬁne ＡＢＣ snake_case x1-y2 Café", ["fine", "abc", "snake", "case", "x1", "y2", "cafe"]),
        ("Кто написал «Войну»?", ["кто", "написал", "войну"]),
        ("《战国无双3》是由", ["战国", "无双", "3", "是", "由"]),
        ("日本で梅雨がないのは北海道", ["日本", "梅雨", "無い", "北海道"]),
        ("走っていた", ["走る", "居る"]),
        ("ไทย", ["ไท", "ทย"]),
        ("यह किताब नई है", ["यह", "किताब", "नई", "है"]),
        ("பெண்கள் নতুন తెలుగు", ["பெண்கள்", "নতুন", "తెలుగు"]),
        ("مُحَمَّد שָׁלוֹם", ["محمد", "שלום"]),
        ("İstanbul'da ISPARTA ısparta", ["istanbul", "da", "isparta", "isparta"]),
        ("co\u00adoperate can\u200bnot می\u200cخواهم", ["cooper", "cannot", "میخواهم"]),
        ("10² 102 1½ x₂", ["10", "2", "102", "1", "1", "2", "x2"]),
        ("", []),
        ("... !? \n\t", []),
    ],
)
def test_a_text_is_cut_into_the_words_of_its_language(segmenter: Segmenter, text: str, words: list[str]) -> None:
    assert segmenter.words(text) == words


@pytest.mark.parametrize(
    ("query", "content"),
    [
        ("how do I send something back", ["send", "someth", "back"]),
        ("What's the WHO's advice on IT?", ["who", "advic", "it"]),
        ("WHO ARE YOU", ["who", "are", "you"]),  # all of it in capitals says nothing
        ("to be or not to be", ["to", "be", "or", "not", "to", "be"]),
        ("does a doe eat", ["doe", "eat"]),  # not for its stem, which is that of "does"
        ("怎么退货", ["退货"]),
        ("怎麼辦退貨", ["辦", "退貨"]),
        ("これは何ですか、梅雨について教えて", ["梅雨"]),
        ("", []),
    ],
)
def test_words_of_a_query_without_a_meaning_of_their_own_are_told_apart(
    segmenter: Segmenter, query: str, content: list[str]
) -> None:
    asked = segmenter.asked(query)
    assert asked.content == content
    assert asked.every == segmenter.words(query)


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


@pytest.mark.parametrize("letter", ["あ", "ア", "猫は", "退货", "ก", "a", "ａ", "㌀", "\u0334\u0316", "ﷺ"])
def test_a_run_without_an_end_is_cut_piece_by_piece(segmenter: Segmenter, letter: str) -> None:
    """Sudachi takes 16,383 letters at most."""
    found = segmenter.words(letter * 30_000)
    assert all(0 < len(word) <= MAX_WORD_CHARS for word in found)
    assert bool(found) == (letter != "\u0334\u0316")
    segmenter.surfaces(letter * 30_000)
    segmenter.content_words(letter * 30_000)


@pytest.mark.parametrize(
    "sentence",
    [
        "Payments of three working days arrive. ",
        "日本で梅雨がないのは北海道とどこか。",
        "《战国无双3》是由哪两个公司，",
        "½ of it… ",
    ],
)
def test_the_words_of_a_long_text_are_those_of_its_sentences(segmenter: Segmenter, sentence: str) -> None:
    assert segmenter.words(sentence * 500) == segmenter.words(sentence) * 500
    assert segmenter.surfaces(sentence * 500) == segmenter.surfaces(sentence) * 500


@given(st.text(max_size=60), st.integers(1, 400))
def test_pieces_are_short_and_make_the_text(text: str, times: int) -> None:
    found = list(pieces(text * times))
    assert "".join(found) == text * times
    assert max(map(len, found)) <= PIECE_CHARS


def test_others_have_their_turn_between_the_pieces_of_a_long_text() -> None:
    """Counted, since times differ: how often one who wants its turn at once gets it while a long text is cut."""
    shared = Segmenter()
    shared.words("あ")
    long = threading.Thread(target=shared.words, args=("あ" * 400_000,))
    long.start()
    num_turns = 0
    while long.is_alive():
        shared.words("い")
        num_turns += 1
    assert num_turns > 5
