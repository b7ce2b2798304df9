"""The types of a batch's tokens, for models that are given pairs of texts."""

from __future__ import annotations

import numpy as np

from farthing.core.arrays import Array
from farthing.models.batch.packed import PackedBatch
from farthing.models.spec import ModelSpec


def token_types(spec: ModelSpec, batch: PackedBatch) -> Array | None:
    """The types [tokens] int32; None where all are 0, as in single texts.

    The type is 0 up to each text's first separator and 1 after it, as pairs are encoded.
    """
    if spec.pair_separator is None or not spec.input.num_token_types:
        return None
    separators = (batch.ids == spec.pair_separator).astype(np.int32)
    before = np.cumsum(separators) - separators  # the number of separators that come before each token in the batch
    firsts = np.repeat(before[batch.cu_seqlens[:-1]], batch.lengths)
    types: Array = (before - firsts > 0).astype(np.int32)
    return types
