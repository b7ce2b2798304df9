from __future__ import annotations

import pytest

from farthing.toolkit.bulk.embedding import CHUNK_SECONDS, FIRST_ROWS, LARGEST_STEP, ChunkSize


@pytest.mark.parametrize("rows_per_second", [0.1, 3, 40, 1000])
def test_chunks_soon_take_a_few_seconds(rows_per_second: float) -> None:
    size = ChunkSize(None, 100_000)
    for _ in range(10):
        size.observe(size.rows, size.rows / rows_per_second)
    assert size.rows == max(1, round(rows_per_second * CHUNK_SECONDS))


def test_steps_up_and_size_are_bounded() -> None:
    size = ChunkSize(None, 100)
    size.observe(FIRST_ROWS, 0.0)
    assert size.rows == FIRST_ROWS * LARGEST_STEP
    size.observe(size.rows, 0.0)
    assert size.rows == 100
    assert ChunkSize(None, 3).rows == 3


def test_a_fixed_size_stays() -> None:
    size = ChunkSize(7, 100)
    size.observe(7, 60.0)
    assert size.rows == 7
