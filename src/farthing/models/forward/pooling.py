"""Turns hidden states into one row for each text, or into all rows of each text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from farthing.core.arrays import Array
from farthing.models.batch.packed import PackedBatch
from farthing.models.batch.ragged import ragged
from farthing.models.spec import Pooling


def pooled_rows(pooling: Pooling, batch: PackedBatch) -> Array | None:
    """The only rows that are needed, [n] int32, one for each set of identical texts; None for all rows."""
    if batch.token_rows is not None:
        return None
    if pooling == "last":
        return batch.last_rows()
    if pooling == "cls":
        return batch.first_rows()
    return None


def rows_of_tokens(hidden: np.ndarray, token_rows: Sequence[Sequence[slice]]) -> np.ndarray:
    """Split rows [tokens of the batch, hidden] into a ragged array [texts], each [tokens of the text, hidden].

    Rows are copied only where several texts share some.
    """
    parts = [[hidden[tokens] for tokens in text] for text in token_rows]
    return ragged([part[0] if len(part) == 1 else np.concatenate(part) for part in parts])
