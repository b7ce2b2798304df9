"""From hidden states to one row a text."""

from __future__ import annotations

import torch

from farthing.models.batch import PackedBatch
from farthing.models.spec import Pooling


def pooled_rows(pooling: Pooling, batch: PackedBatch) -> torch.Tensor | None:
    """[n] int64, one for each set of identical texts: the only rows pooling looks at; None: all."""
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
