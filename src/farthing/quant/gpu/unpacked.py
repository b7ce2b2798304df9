"""Products, in torch, with weights that are stored smaller than they are multiplied.

In: a function that unpacks a matrix, and a region to unpack it in. Out: a `Linear` that unpacks at each call. It serves
every device and dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from farthing.quant.format import MatrixShape
from farthing.quant.gpu.linear import TensorRegion


class UnpackedLinear:
    """Unpacks at each call: `unpack` writes the weight into a tensor [out, in] of the rows' dtype and device."""

    def __init__(
        self,
        unpack: Callable[[torch.Tensor], None],
        bias: torch.Tensor | None,
        shape: MatrixShape,
        region: TensorRegion,
    ) -> None:
        self._unpack = unpack
        self._bias = bias
        self._shape = (shape.out_features, shape.in_features)
        self._region = region

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        weight = self._region.take(self._shape, x.dtype, x.device)
        self._unpack(weight)
        return F.linear(x, weight, None if self._bias is None else self._bias.to(x.dtype))
