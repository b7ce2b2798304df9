from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from farthing.serving.cache.entry import (
    VERSION,
    entry_type,
    is_truncated,
    read_entries,
    seal,
    unseal,
    write_entries,
)

HIDDEN = 24
LARGEST = float(np.finfo(np.float32).max)
ROWS = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.just(HIDDEN)),
    elements=st.floats(-LARGEST, LARGEST, width=32, allow_nan=False),
)
KEY = b"k" * 16


def random_rows(num_rows: int, scale: float = 1) -> np.ndarray:
    rows = np.random.default_rng(7).standard_normal((num_rows, HIDDEN)) * scale
    return rows.astype(np.float32)


def answered(entries: list[bytes], dimensions: int = HIDDEN, *, normalize: bool = True) -> np.ndarray:
    return read_entries(entries, HIDDEN, dimensions, normalize=normalize).vectors


@given(ROWS, st.booleans(), st.integers(1, HIDDEN))
def test_any_finite_row_comes_back_finite_and_in_its_size(rows: np.ndarray, normalize: bool, dimensions: int) -> None:
    vectors = answered(write_entries(rows, [3] * len(rows), ()), dimensions, normalize=normalize)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(rows), dimensions)
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("scale", [1e-38, 1e-6, 1, 1e5, 1e30, 1e37])
@pytest.mark.parametrize("dimensions", [1, 7, HIDDEN])
def test_vectors_are_those_of_the_rows_but_for_rounding(scale: float, dimensions: int) -> None:
    rows = random_rows(50, scale)
    entries = write_entries(rows, [3] * 50, ())
    unit = answered(entries, dimensions)
    cut = rows[:, :dimensions].astype(np.float64)
    assert np.abs(unit - cut / np.linalg.norm(cut, axis=1, keepdims=True)).max() < 2e-3
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    kept = answered(entries, dimensions, normalize=False)
    assert np.abs((kept - rows[:, :dimensions].astype(np.float64)) / lengths).max() < 1e-3


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dimensions", [5, 16, 23, HIDDEN])
def test_a_vector_is_the_same_bytes_whatever_it_is_read_with(normalize: bool, dimensions: int) -> None:
    entries = write_entries(random_rows(70), [3] * 70, ())
    together = answered(entries, dimensions, normalize=normalize)
    for place in range(0, 70, 9):
        alone = answered([entries[place]], dimensions, normalize=normalize)
        assert alone.tobytes() == together[place].tobytes()


def test_an_entry_is_the_same_bytes_whatever_it_is_written_with() -> None:
    rows = random_rows(70)
    together = write_entries(rows, [3] * 70, ())
    assert together == [write_entries(rows[place : place + 1], [3], ())[0] for place in range(70)]


def test_a_row_of_zeros_stays_one() -> None:
    entries = write_entries(np.zeros((1, HIDDEN), np.float32), [0], ())
    assert not answered(entries).any()
    assert not answered(entries, normalize=False).any()


def test_tokens_and_cuts_are_kept() -> None:
    entries = write_entries(random_rows(3), [1, 70_000, 3], {1})
    assert read_entries(entries, HIDDEN, HIDDEN, normalize=True).num_tokens == [1, 70_000, 3]
    assert [is_truncated(entry) for entry in entries] == [False, True, False]


@given(st.binary(max_size=200), st.binary(min_size=16, max_size=16))
def test_nothing_but_an_entry_under_its_own_key_is_one(data: bytes, other: bytes) -> None:
    entry = write_entries(random_rows(1), [3], ())[0]
    sealed = seal(KEY, entry)
    assert unseal(KEY, sealed, len(entry)) == entry
    assert unseal(KEY, data, len(entry)) is None
    assert unseal(KEY, sealed[:-1], len(entry)) is None
    assert unseal(KEY, sealed, len(entry) + 2) is None
    assert (unseal(other, sealed, len(entry)) is None) == (other != KEY)


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    entry = write_entries(random_rows(1), [3], ())[0]
    sealed = bytearray(seal(KEY, entry))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    assert unseal(KEY, bytes(sealed), len(entry)) is None


def test_another_version_is_not_read() -> None:
    entry = bytes([VERSION + 1]) + write_entries(random_rows(1), [3], ())[0][1:]
    assert unseal(KEY, seal(KEY, entry), len(entry)) is None


def test_a_vector_of_1024_numbers_takes_little_more_than_2048_bytes() -> None:
    assert entry_type(1024).itemsize == 2048 + 10
