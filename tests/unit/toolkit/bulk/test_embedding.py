from __future__ import annotations

import pytest

from farthing.toolkit.bulk.pace import CHUNK_SECONDS, FIRST_ROWS, LARGEST_STEP, Pace


@pytest.mark.parametrize("rows_per_second", [0.1, 3, 40, 1000])
def test_chunks_soon_take_a_few_seconds(rows_per_second: float) -> None:
    pace = Pace(None, 100_000)
    for _ in range(10):
        pace.observe(pace.rows, pace.rows / rows_per_second)
    assert pace.rows == max(1, round(rows_per_second * CHUNK_SECONDS))


def test_steps_up_and_size_are_bounded() -> None:
    pace = Pace(None, 100)
    pace.observe(FIRST_ROWS, 0.0)
    assert pace.rows == FIRST_ROWS * LARGEST_STEP
    pace.observe(pace.rows, 0.0)
    assert pace.rows == 100
    assert Pace(None, 3).rows == 3


def test_a_fixed_size_stays() -> None:
    pace = Pace(7, 100)
    pace.observe(7, 60.0)
    assert pace.rows == 7
