from __future__ import annotations

import numpy as np
import pytest

from farthing.core.errors import InputError
from farthing.toolkit.dedup.find import find_duplicates, find_repeats
from farthing.toolkit.text_set import TextVectors

TEXTS = ["a wren", "A  WREN", "the wren", "a tower", "The Wren!!", "a tower"]
# "the wren" is 0.2 from "a wren", "The Wren!!" 0.2 from that and 0.4 from "a wren".
ANGLES = np.array([0, 0, 0.2, 1.5, 0.4, 1.5])
VECTORS = np.stack((np.cos(ANGLES), np.sin(ANGLES)), axis=1).astype(np.float32)


def known(table: np.ndarray) -> TextVectors:
    return TextVectors(table, np.zeros(len(table), dtype=bool))


def test_the_same_texts_and_near_ones_are_dropped() -> None:
    found = find_duplicates(TEXTS, VECTORS, threshold=0.3)
    assert found.dropped.tolist() == [False, True, True, False, False, True]
    assert found.exact.tolist() == [False, True, False, False, False, True]
    assert found.nearest.tolist() == [-1, 0, 0, 0, 0, 3]
    np.testing.assert_allclose(found.distances, [np.nan, 0, 0.2, 1.36, 0.397, 0], atol=0.01)


def test_the_rule_says_which_is_kept() -> None:
    longest = find_duplicates(TEXTS, VECTORS, threshold=0.3, keep="longest")
    assert np.flatnonzero(~longest.dropped).tolist() == [1, 3, 4]  # "A  WREN" is 0.4 from the longest
    newest = find_duplicates(TEXTS, VECTORS, threshold=0.3, keep="newest", times=[0, 1, 9, 1, 2, 3])
    assert np.flatnonzero(~newest.dropped).tolist() == [2, 5]


def test_what_is_the_same_as_a_near_duplicate_names_what_is_kept() -> None:
    texts, vectors = ["a wren", "the wren", "THE WREN"], VECTORS[[0, 2, 2]]
    found = find_duplicates(texts, vectors, threshold=0.3)
    assert found.nearest.tolist() == [-1, 0, 0]
    assert found.exact.tolist() == [False, False, False]
    assert found.distances[2] == pytest.approx(0.2, abs=0.01)


def test_what_longest_and_newest_keep_does_not_depend_on_the_order_of_the_input() -> None:
    rng = np.random.default_rng(0)
    texts = [f"text {number % 70} {'x' * int(rng.integers(4))}" for number in range(300)]
    vectors = rng.normal(size=(300, 4)).astype(np.float32)
    by_text = {text: vectors[place] / np.linalg.norm(vectors[place]) for place, text in enumerate(texts)}
    times = {text: int(rng.integers(5)) for text in texts}

    def kept(shuffled: list[str], keep: str) -> set[str]:
        table = np.array([by_text[text] for text in shuffled])
        given = [times[text] for text in shuffled] if keep == "newest" else None
        found = find_duplicates(shuffled, table, threshold=0.4, keep=keep, times=given)  # type: ignore[arg-type]
        return {shuffled[index] for index in np.flatnonzero(~found.dropped)}

    for keep in ("longest", "newest"):
        first = kept(texts, keep)
        assert 10 < len(first) < 300
        for seed in range(3):
            assert kept([texts[place] for place in np.random.default_rng(seed).permutation(300)], keep) == first


def test_vectors_are_asked_for_once_for_the_same_text() -> None:
    asked: list[list[int]] = []

    def vectors(rows: np.ndarray) -> TextVectors:
        asked.append(rows.tolist())
        table = np.zeros_like(VECTORS)
        table[rows] = VECTORS[rows]
        return known(table)

    found = find_duplicates(TEXTS, vectors, threshold=0.3)
    assert asked == [[0, 2, 3, 4]]
    np.testing.assert_array_equal(found.dropped, find_duplicates(TEXTS, VECTORS, threshold=0.3).dropped)


def test_texts_of_which_the_model_knows_no_word_are_no_near_duplicates_of_anything() -> None:
    texts = ["aaaa", "bbbb", "a wren", "AAAA", "the wren"]
    table = np.array([[1, 0], [1, 0], [1, 0], [0, 0], [1, 0]], dtype=np.float32)
    found = find_duplicates(texts, lambda _: TextVectors(table, np.array([True, True, False, False, False])))
    assert found.dropped.tolist() == [False, False, False, True, True]
    assert (found.nearest.tolist(), found.num_unknown) == ([-1, -1, -1, 0, 2], 2)
    repeats = find_repeats(
        texts[:3],
        lambda _: TextVectors(table[:3], np.array([True, True, False])),
        ["cccc", "any wren", "aaaa"],
        lambda _: TextVectors(table[:3], np.array([True, False, True])),
    )
    assert repeats.dropped.tolist() == [True, False, True]
    assert (repeats.nearest.tolist(), repeats.num_unknown) == ([2, -1, 1], 1)


def test_without_vectors_only_the_same_texts_are_dropped() -> None:
    found = find_duplicates(TEXTS, None)
    assert found.threshold is None
    assert found.dropped.tolist() == found.exact.tolist() == [False, True, False, False, False, True]


def test_one_set_against_another() -> None:
    asked: list[list[int]] = []

    def vectors(rows: np.ndarray) -> TextVectors:
        asked.append(rows.tolist())
        return known(np.array([[1, 0], [0, 0], [0, 0], [0.6, 0.8], [0, 0]], dtype=np.float32))

    def other_vectors(rows: np.ndarray) -> TextVectors:
        asked.append(rows.tolist())
        return known(np.array([[0, 1], [0, 1], [1, 0]], dtype=np.float32))

    texts = ["new", "a tower", "NEW", "a wren", "A Tower"]
    found = find_repeats(texts, vectors, ["A TOWER", "a tower", "a crow"], other_vectors, threshold=0.3)
    assert asked == [[0, 3], [0, 2]]  # texts that the other set has, and second ones, need no vectors
    assert found.nearest.tolist() == [2, 0, 2, 0, 0]
    assert found.exact.tolist() == [False, True, False, False, True]
    assert found.dropped.tolist() == [True, True, True, False, True]


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="3 vectors for 6 texts"):
        find_duplicates(TEXTS, VECTORS[:3])
    with pytest.raises(InputError, match="2 dimensions, those of the other 4"):
        find_repeats(TEXTS, VECTORS, ["x"], np.eye(1, 4, dtype=np.float32))
