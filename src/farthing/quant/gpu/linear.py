"""What a pass in torch multiplies by, and the memory that its matrices are unpacked in."""

from __future__ import annotations

import math
from typing import Protocol

import torch


class Linear(Protocol):
    """y = x W^T + b, for `x` of any float dtype the format can compute in.

    Called with fp32 rows, it computes in fp32 whatever the format: that is how a row that overflowed in half
    precision is computed again.
    """

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x [tokens, in_features] -> [tokens, out_features] of the same dtype."""
        ...


class TensorRegion:
    """As `farthing.quant.format.Region`, on any device."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)

    def take(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """A tensor with whatever content was there before; the region grows to the largest one that was asked for."""
        num_bytes = math.prod(shape) * dtype.itemsize
        if self._memory.device != device or self._memory.numel() < num_bytes:
            self._memory = torch.empty(num_bytes, dtype=torch.uint8, device=device)
        return self._memory[:num_bytes].view(dtype).view(shape)
