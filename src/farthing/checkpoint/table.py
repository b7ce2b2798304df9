"""Matrices stored in quantised blocks, read as fp32 matrices or as tables whose rows are gathered.

In: a function that dequantises some rows. Out: all rows at once, or the few that a batch asks for. A table of 151,669
rows is never dequantised as a whole: the file's pages stay the only copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from farthing.core.arrays import Array

# Rows dequantised at a time: few enough for the caches, and for scratch memory that is small beside a matrix.
CHUNK_ROWS = 256

Dequantise = Callable[[slice | Array], Array]


class Table(Protocol):
    """Token embeddings [rows, width] on the host: a mapped array (fp32, fp16 or bf16), or `QuantisedTable`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def take(self, ids: Array, /, axis: int) -> Array:
        """The rows [n, width] of `ids` [n] int64 or int32, copied; `axis` is 0."""
        ...


class QuantisedTable:
    """A `Table` whose rows are dequantised to fp32 when they are gathered."""

    dtype = np.dtype(np.float32)

    def __init__(self, num_rows: int, width: int, dequantise: Dequantise) -> None:
        self.shape = (num_rows, width)
        self._dequantise = dequantise

    def take(self, ids: Array, /, axis: int = 0) -> Array:
        assert axis == 0
        return self._dequantise(ids)


def dequantised(num_rows: int, width: int, dequantise: Dequantise) -> Array:
    """The matrix [num_rows, width] fp32, made in the memory of the result and of `CHUNK_ROWS` rows."""
    matrix = np.empty((num_rows, width), dtype=np.float32)
    for start in range(0, num_rows, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        matrix[rows] = dequantise(rows)
    return matrix


def pieces(table: Table) -> Iterator[Array]:
    """The whole table, some thousand rows at a time."""
    num_rows, step = table.shape[0], 16 * CHUNK_ROWS
    for start in range(0, num_rows, step):
        yield table.take(np.arange(start, min(start + step, num_rows)), axis=0)
