"""The token embeddings, of which a batch gathers a few thousand rows.

They are not converted, and stay where the checkpoint's file is mapped.
"""

from __future__ import annotations

import numpy as np

from farthing.checkpoint.mapping import read_rows
from farthing.checkpoint.table import Table
from farthing.core.arrays import Array


class TokenTable:
    """The token embeddings [vocab, hidden], mapped from their file.

    With `keeps_pages`, the file's pages that were read stay in memory, which is faster; without it, none do.
    """

    def __init__(self, table: Table, *, keeps_pages: bool) -> None:
        self._table, self._keeps_pages = table, keeps_pages

    @property
    def mapped(self) -> Array | None:
        """The whole table, of which any row may be read; None where rows must be asked for."""
        return self._table if self._keeps_pages and isinstance(self._table, np.ndarray) else None

    def rows(self, ids: Array) -> Array:
        """The embeddings [n, hidden] of token ids [n], as stored or, where they are stored in blocks, in fp32.

        Raises `CheckpointError` where the file cannot be read any more.
        """
        if self._keeps_pages or not isinstance(self._table, np.ndarray):
            return self._table.take(ids, axis=0)
        rows = read_rows(self._table, ids)
        return self._table.take(ids, axis=0) if rows is None else rows
