from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from farthing.core.arrays import BF16
from farthing.models.token_table import GATHER_ROWS, TokenTable


def test_embeddings_are_gathered_by_id_in_the_tables_own_type() -> None:
    table = np.arange(10, dtype=BF16).reshape(5, 2)
    got = TokenTable(table, keeps_pages=True).rows(np.array([4, 0, 4]))
    assert got.dtype == BF16
    assert got.tolist() == [[8, 9], [0, 1], [8, 9]]


def test_gathered_rows_may_be_changed_without_changing_the_table() -> None:
    table = np.ones((3, 2), dtype=np.float32)
    TokenTable(table, keeps_pages=True).rows(np.array([0, 1, 2])).fill(0)
    assert (table == 1).all()


@pytest.mark.parametrize("count", [1, GATHER_ROWS, 2 * GATHER_ROWS + 1])
def test_a_mapped_table_whose_pages_are_let_go_is_gathered_from_as_before(tmp_path: Path, count: int) -> None:
    random = np.random.default_rng(0)
    table, ids = random.standard_normal((5000, 16), dtype=np.float32), random.integers(0, 5000, count)
    table.tofile(tmp_path / "table")
    mapped = np.memmap(tmp_path / "table", np.float32, "c", shape=table.shape)
    tokens = TokenTable(mapped, keeps_pages=False)
    assert tokens.mapped is None
    for _ in range(2):
        np.testing.assert_array_equal(tokens.rows(ids), table[ids])


def test_a_table_whose_pages_stay_may_be_read_as_a_whole() -> None:
    table = np.ones((3, 2), dtype=np.float32)
    assert TokenTable(table, keeps_pages=True).mapped is table
