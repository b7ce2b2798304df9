"""The token embeddings, of which a batch gathers a few thousand rows.

They are not converted, and stay where the checkpoint's file is mapped.
"""

from __future__ import annotations

import numpy as np

from farthing.checkpoint.table import Table
from farthing.core.arrays import Array
from farthing.core.pages import let_go

# Rows gathered before the table's pages are let go: each row may bring 64 KiB (Linux maps what lies around it too).
GATHER_ROWS = 256


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
        """The embeddings [n, hidden] of token ids [n], as stored or, where they are stored in blocks, in fp32."""
        if self._keeps_pages:
            return self._table.take(ids, axis=0)
        rows = np.empty((len(ids), self._table.shape[1]), dtype=self._table.dtype)
        for start in range(0, len(ids), GATHER_ROWS):
            part = slice(start, start + GATHER_ROWS)
            rows[part] = self._table.take(ids[part], axis=0)
            if isinstance(self._table, np.ndarray):
                let_go(self._table)
        return rows
