from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.toolkit.documents.splitting.plain_pieces import plain_pieces
from tiers import examples


def count_chars(text: str) -> int:
    return len(text)


@settings(max_examples=examples(100), deadline=None)
@given(st.text(" \n.ab", max_size=300), st.integers(4, 60), st.floats(0, 0.5))
def test_pieces_fit_and_nothing_is_lost(text: str, most: int, overlap: float) -> None:
    pieces = list(plain_pieces(text, most, int(most * overlap), 10_000, count_chars))
    assert all(text[start : start + len(piece)] == piece and len(piece) <= most for start, piece in pieces)
    assert all(first < then for (first, _), (then, _) in itertools.pairwise(pieces))
    covered = {at for start, piece in pieces for at in range(start, start + len(piece))}
    assert covered == set(range(len(text)))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.\n\nThree three. Four four", "One. Two.\n\n"),
        ("One one one.\nTwo two two two two two", "One one one.\n"),
        ("One one one. Two two two two two two", "One one one. "),
        ("one one one one one one one one one", "one one one one one "),
        ("一一一一一一一一一一一一。二二二二二二二二二二二二", "一一一一一一一一一一一一。"),
        ("x" * 40, "x" * 20),
    ],
)
def test_a_piece_ends_where_something_ends(text: str, first: str) -> None:
    assert next(plain_pieces(text, 20, 0, 10_000, count_chars))[1] == first


def test_neighbours_share_about_what_was_asked_for() -> None:
    text = "".join(f"word{number:03} " for number in range(200))
    pieces = list(plain_pieces(text, 80, 40, 10_000, count_chars))
    shared = [first + len(piece) - then for (first, piece), (then, _) in itertools.pairwise(pieces)]
    assert all(24 <= number <= 40 for number in shared)
    assert all(piece.startswith("word") for _, piece in pieces)


def test_the_characters_of_a_piece_are_bounded_whatever_the_tokenizer_says() -> None:
    pieces = list(plain_pieces("x" * 1000, 20, 5, 100, lambda _: 1))
    assert max(len(piece) for _, piece in pieces) == 100


def test_the_work_grows_with_the_length_alone() -> None:
    num_counted = [0, 0]
    for place, num_chars in enumerate((10_000, 100_000)):

        def count(text: str, place: int = place) -> int:
            num_counted[place] += len(text)
            return len(text) // 4

        list(plain_pieces("x" * num_chars, 100, 12, 3200, count))
    assert num_counted[1] < 12 * num_counted[0]
