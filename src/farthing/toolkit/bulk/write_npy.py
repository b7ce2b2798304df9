"""Only the vectors, as one NumPy array: float32 [rows, dimensions], little-endian, for `numpy.load`.

A record without a vector gets a row of zeros, so that row i always belongs to record i.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from farthing.toolkit.records.rows import Rows

FLOAT32 = np.dtype("<f4")


class NpyWriter:
    def write_chunk(self, path: Path, rows: Rows, vectors: np.ndarray, kept: Sequence[int]) -> None:  # noqa: ARG002
        with path.open("wb") as file:  # given a name, numpy would add a suffix
            np.save(file, vectors.astype(FLOAT32, copy=False))

    def assemble(self, chunks: Sequence[Path], path: Path) -> None:
        shapes = [np.load(chunk, mmap_mode="r").shape for chunk in chunks]
        shape = (sum(rows for rows, _ in shapes), shapes[0][1])
        with path.open("wb") as file:
            npy_format.write_array_header_1_0(file, {"descr": FLOAT32.str, "fortran_order": False, "shape": shape})
            for chunk in chunks:
                file.write(np.load(chunk, mmap_mode="r").data)
