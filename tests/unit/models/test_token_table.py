from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from farthing.checkpoint.mapping import as_numbers, map_bytes
from farthing.core.arrays import BF16
from farthing.core.errors import CheckpointError
from farthing.models.token_table import TokenTable


def test_embeddings_are_gathered_by_id_in_the_tables_own_type() -> None:
    table = np.arange(10, dtype=BF16).reshape(5, 2)
    got = TokenTable(table, keeps_pages=True).rows(np.array([4, 0, 4]))
    assert got.dtype == BF16
    assert got.tolist() == [[8, 9], [0, 1], [8, 9]]


def test_gathered_rows_may_be_changed_without_changing_the_table() -> None:
    table = np.ones((3, 2), dtype=np.float32)
    TokenTable(table, keeps_pages=True).rows(np.array([0, 1, 2])).fill(0)
    assert (table == 1).all()


OFFSET = 100  # of the table in its file


def mapped_table(file: Path, table: np.ndarray) -> np.ndarray:
    file.write_bytes(bytes(OFFSET) + table.tobytes() + b"the end")
    return as_numbers(map_bytes(file, OFFSET, table.nbytes), table.dtype, table.shape)


@pytest.mark.parametrize("dtype", [np.float32, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("part", [slice(None), slice(7, None)], ids=["whole", "below other rows"])
def test_rows_of_a_table_whose_pages_do_not_stay_are_read_from_its_file(
    tmp_path: Path, dtype: type[np.generic], part: slice
) -> None:
    random = np.random.default_rng(0)
    table, ids = random.integers(0, 99, (5000, 16)).astype(dtype), random.integers(0, 4993, 300)
    tokens = TokenTable(mapped_table(tmp_path / "table", table)[part], keeps_pages=False)
    assert tokens.mapped is None
    for _ in range(2):
        np.testing.assert_array_equal(tokens.rows(ids), table[part][ids])
    assert tokens.rows(np.array([], dtype=np.int32)).shape == (0, 16)


def resident_bytes(array: np.ndarray) -> int:
    """What of the array's mapping is in this process's memory."""
    first = array.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    next(line for line in lines if line.startswith(f"{first:x}-"))
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what of a mapping is resident")
def test_reading_rows_brings_no_page_of_the_mapping_into_memory(tmp_path: Path) -> None:
    """Touching them would: on Linux 6.18 up to 2 MiB for each row."""
    table = np.ones((20_000, 256), dtype=np.float32)
    mapped = mapped_table(tmp_path / "table", table)
    TokenTable(mapped, keeps_pages=False).rows(np.arange(0, 20_000, 100))
    assert resident_bytes(mapped) == 0
    assert mapped[9999, 0] == 1
    assert resident_bytes(mapped) > 0


def test_a_table_that_is_mapped_from_no_file_is_gathered_from_as_it_is() -> None:
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    assert TokenTable(table, keeps_pages=False).rows(np.array([3])).tolist() == [[6, 7]]


def test_a_file_that_was_cut_or_removed_meanwhile_is_told(tmp_path: Path) -> None:
    file, table = tmp_path / "table", np.ones((50, 4), dtype=np.float32)
    tokens = TokenTable(mapped_table(file, table), keeps_pages=False)
    os.truncate(file, OFFSET + 20)
    assert tokens.rows(np.array([0])).tolist() == [[1, 1, 1, 1]]
    with pytest.raises(CheckpointError, match=r"table is cut short. Download the model again"):
        tokens.rows(np.array([0, 1]))
    file.unlink()
    with pytest.raises(CheckpointError, match=r"table cannot be read: .*No such file"):
        tokens.rows(np.array([0]))


def test_a_table_whose_pages_stay_may_be_read_as_a_whole() -> None:
    table = np.ones((3, 2), dtype=np.float32)
    assert TokenTable(table, keeps_pages=True).mapped is table
