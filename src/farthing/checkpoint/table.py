"""Matrices stored in quantised blocks, read as fp32 matrices or as tables whose rows are gathered.

In: a function that dequantises some rows. Out: all rows at once, or the few that a batch asks for. A table of 151,669
rows is never dequantised as a whole: the file's pages stay the only copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch

# Rows dequantised at a time: few enough for the caches, and for scratch memory that is small beside a matrix.
CHUNK_ROWS = 256

Dequantise = Callable[[slice | torch.Tensor], torch.Tensor]


class Table(Protocol):
    """Token embeddings [rows, width] on the host: a mapped tensor, or `QuantisedTable`."""

    @property
    def shape(self) -> torch.Size: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def index_select(self, dim: int, index: torch.Tensor) -> torch.Tensor:
        """The rows [n, width] of `index` [n] int64; `dim` is 0."""
        ...


class QuantisedTable:
    """A `Table` whose rows are dequantised to fp32 when they are gathered."""

    dtype = torch.float32

    def __init__(self, num_rows: int, width: int, dequantise: Dequantise) -> None:
        self.shape = torch.Size((num_rows, width))
        self._dequantise = dequantise

    def index_select(self, dim: int, index: torch.Tensor) -> torch.Tensor:
        assert dim == 0
        return self._dequantise(index)


def dequantised(num_rows: int, width: int, dequantise: Dequantise) -> torch.Tensor:
    """The matrix [num_rows, width] fp32, made in the memory of the result and of `CHUNK_ROWS` rows."""
    matrix = torch.empty(num_rows, width)
    for start in range(0, num_rows, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        matrix[rows] = dequantise(rows)
    return matrix


def pieces(table: Table) -> Iterator[torch.Tensor]:
    """The whole table, some thousand rows at a time."""
    num_rows, step = table.shape[0], 16 * CHUNK_ROWS
    for start in range(0, num_rows, step):
        yield table.index_select(0, torch.arange(start, min(start + step, num_rows)))
