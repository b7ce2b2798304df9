"""From hidden states to one row a text."""

from __future__ import annotations

import torch

from farthing.models.batch import PackedBatch
from farthing.models.spec import Pooling


def pooled_rows(pooling: Pooling, batch: PackedBatch) -> torch.Tensor | None:
    """[texts] int64: the only rows that pooling will look at; None when it looks at all."""
    if pooling == "last":
        return batch.last_rows()
    if pooling == "cls":
        return batch.first_rows()
    return None


def mean_pool(hidden: torch.Tensor, batch: PackedBatch) -> torch.Tensor:
    """[tokens, hidden] -> [texts, hidden]: the mean over each text's tokens, special tokens included."""
    return torch.cat([hidden[run.tokens].view(run.count, run.length, -1).mean(1) for run in batch.runs])
