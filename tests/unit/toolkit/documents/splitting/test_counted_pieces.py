from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.toolkit.documents.splitting.counted_pieces import Sizes, counted_pieces
from farthing.toolkit.documents.splitting.structure import structural_pieces
from tiers import examples

SIZES = Sizes(max_tokens=60, overlap_tokens=12, max_chars=32 * 61 - 1)
PROSE = "\n\n".join(
    " ".join(f"Sentence {number} of paragraph {paragraph} says nothing of interest." for number in range(9))
    for paragraph in range(40)
)
CODE = "\n\n\n".join(f"def f{number}(x):\n    return x + {number}\n" * 3 for number in range(60))
CHINESE = "它有自己的引擎，可以在便宜的硬件上运行。" * 200
BLANKS = "a" + " " * 5_000 + "b" + "\n" * 5_000 + "c" * 5_000


class Counter:
    """Counts with `count`, and how much was asked of it."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self.num_questions = self.num_chars = 0

    def each(self, texts: Sequence[str]) -> list[int]:
        self.num_questions += 1
        self.num_chars += sum(map(len, texts))
        return list(map(self._count, texts))

    def one(self, text: str) -> int:
        if len(text) > SIZES.max_chars:
            return SIZES.max_tokens + 1 + len(text) // SIZES.max_chars
        return self.each([text])[0]


def in_words(text: str) -> int:
    """As word pieces: of up to four letters each."""
    return sum((len(word) + 3) // 4 for word in text.split())


def in_pairs(text: str) -> int:
    """No sum of its words: blanks count as well."""
    return (len(text) + 1) // 2


def with_more(text: str) -> int:
    """Far more than its words have when they are counted one by one."""
    return in_words(text) + len(text) // 40


@pytest.mark.parametrize(("kind", "text"), [("text", PROSE), ("markdown", PROSE), ("python", CODE), ("text", CHINESE)])
@pytest.mark.parametrize("count", [in_words, in_pairs])
def test_pieces_are_those_of_a_splitter_that_counts_each(kind: str, text: str, count: Callable[[str], int]) -> None:
    exact, added_up = Counter(count), Counter(count)
    expected = structural_pieces(kind, text, SIZES.max_tokens, SIZES.overlap_tokens, exact.one)
    assert counted_pieces(kind, text, SIZES, added_up.each) == expected
    assert added_up.num_questions < exact.num_questions


def test_little_is_counted() -> None:
    exact, added_up = Counter(in_words), Counter(in_words)
    structural_pieces("text", PROSE, SIZES.max_tokens, SIZES.overlap_tokens, exact.one)
    counted_pieces("text", PROSE, SIZES, added_up.each)
    assert exact.num_chars > 5 * len(PROSE)
    assert added_up.num_chars < 2.5 * len(PROSE)


@pytest.mark.parametrize("text", [PROSE, CHINESE, BLANKS])
@pytest.mark.parametrize("count", [in_words, in_pairs, with_more])
def test_no_piece_is_too_long_whatever_sums_say(text: str, count: Callable[[str], int]) -> None:
    pieces = counted_pieces("text", text, SIZES, Counter(count).each)
    assert max(count(piece) for _, piece in pieces) <= SIZES.max_tokens
    assert all(text[start : start + len(piece)] == piece for start, piece in pieces)
    covered = {place for start, piece in pieces for place in range(start, start + len(piece))}
    assert all(place in covered for place, letter in enumerate(text) if not letter.isspace())


@settings(max_examples=examples(60), deadline=None)
@given(st.text(st.sampled_from("ab .\n\tあ。"), max_size=2_000), st.sampled_from([in_words, in_pairs, with_more]))
def test_any_text_is_split_into_pieces_that_fit(text: str, count: Callable[[str], int]) -> None:
    sizes = Sizes(max_tokens=16, overlap_tokens=4, max_chars=32 * 17 - 1)
    pieces = counted_pieces("text", text, sizes, Counter(count).each)
    assert all(count(piece) <= 16 and text[start : start + len(piece)] == piece for start, piece in pieces)


def test_where_nothing_fits_pieces_are_those_of_the_splitter() -> None:
    counter = Counter(lambda text: 100 * len(text))
    expected = structural_pieces("text", "x" * 40, SIZES.max_tokens, SIZES.overlap_tokens, counter.one)
    assert counted_pieces("text", "x" * 40, SIZES, counter.each) == expected
