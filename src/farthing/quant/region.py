"""Memory that the matrices of one name share: each layer's is unpacked there when its turn comes.

One model has one region for each matrix of a layer, so that it holds one layer unpacked. What was unpacked before is
gone with the next `take`. Not for use by several threads at once: a model is computed by one.
"""

from __future__ import annotations

import math

import torch


class Region:
    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)

    def take(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """A tensor whose content is whatever was there before; the region grows to the largest that was asked for."""
        num_bytes = math.prod(shape) * dtype.itemsize
        if self._memory.device != device or self._memory.numel() < num_bytes:
            self._memory = torch.empty(num_bytes, dtype=torch.uint8, device=device)
        return self._memory[:num_bytes].view(dtype).view(shape)
