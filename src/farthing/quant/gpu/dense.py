"""Unquantised weights in torch. Where rows have another dtype, the weights are converted for that one call.

This happens to rows that are computed again in fp32 after an overflow.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


class DenseLinear:
    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight = weight  # [out, in]
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._weight.to(x.dtype), None if self._bias is None else self._bias.to(x.dtype))
