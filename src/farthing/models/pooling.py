"""From hidden states to one row a text, or to all rows of each text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from farthing.models.batch import PackedBatch
from farthing.models.spec import Pooling


def ragged(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """[n] of objects: arrays of any shapes, never stacked."""
    result = np.empty(len(arrays), dtype=object)
    for index, array in enumerate(arrays):
        result[index] = array
    return result


def pooled_rows(pooling: Pooling, batch: PackedBatch) -> torch.Tensor | None:
    """[n] int64, one for each set of identical texts: the only rows that are looked at; None: all."""
    if batch.token_rows is not None:
        return None
    if pooling == "last":
        return batch.last_rows()
    if pooling == "cls":
        return batch.first_rows()
    return None


def mean_pool(hidden: torch.Tensor, batch: PackedBatch) -> torch.Tensor:
    """[tokens, hidden] -> [texts, hidden]: the mean over each text's tokens, special tokens included.

    Of batches without prefixes, where each segment is a text.
    """
    return torch.cat([hidden[run.tokens].view(run.count, run.length, -1).mean(1) for run in batch.runs])


def rows_of_tokens(hidden: np.ndarray, token_rows: Sequence[Sequence[slice]]) -> np.ndarray:
    """[tokens of the batch, hidden] -> ragged [texts]: each [tokens of the text, hidden]; copied only where several
    texts share some."""
    parts = [[hidden[tokens] for tokens in text] for text in token_rows]
    return ragged([part[0] if len(part) == 1 else np.concatenate(part) for part in parts])
