"""int8 on a CPU: weights with one scale an output channel, rows of x with one scale a token, sums exact in int32.

With the native kernels (farthing.quant.native) a matrix is packed for them; without, it is plain int8 and multiplied by
torch. Both round alike: symmetric, to nearest, largest magnitude on 127.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from farthing.quant.format import Linear
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import native_kernels

SHAPE_BYTES = 2 * torch.int64.itemsize  # of the tensor that says what shape was packed


class Int8Format:
    name = "int8"
    folds_gains = True
    rotates_inputs = True

    def pack(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        kernels = native_kernels()
        if kernels is None:
            quantised, scale = quantise_rows(weight.float())
            return {"weight": quantised, "scale": scale}
        packed = kernels.pack(weight if weight.dtype is torch.bfloat16 else weight.float())
        return {"packed": packed, "shape": torch.tensor(weight.shape)}

    def linear(self, packed: Mapping[str, torch.Tensor], bias: torch.Tensor | None) -> Linear:
        bias = None if bias is None else bias.float()
        if "packed" in packed:
            kernels = native_kernels()
            assert kernels is not None, "packed for native kernels that are not there"
            return NativeInt8Linear(kernels, packed["packed"], int(packed["shape"][0]), bias)
        return TorchInt8Linear(packed["weight"], packed["scale"], bias)

    def num_bytes(self, out_features: int, in_features: int) -> int:
        kernels = native_kernels()
        if kernels is not None:
            return kernels.packed_bytes(out_features, in_features) + SHAPE_BYTES
        return out_features * (in_features + torch.float32.itemsize)


class NativeInt8Linear:
    def __init__(
        self, kernels: NativeKernels, packed: torch.Tensor, out_features: int, bias: torch.Tensor | None
    ) -> None:
        self.packed = packed
        self.bias = bias
        self._kernels = kernels
        self._out_features = out_features

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._kernels.linear(x.float(), self.packed, self._out_features, self.bias).to(x.dtype)


class TorchInt8Linear:
    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight = weight.t()  # int8 [in, out], a view: what _int_mm takes as its second factor
        self._scale = scale.t()  # [1, out]
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        quantised, scale = quantise_rows(x.float())
        y = torch._int_mm(quantised, self._weight).float() * scale * self._scale
        return (y if self._bias is None else y.add_(self._bias)).to(x.dtype)


def quantise_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """rows [n, width] fp32 -> int8 [n, width] and the scales [n, 1] that lead back."""
    scale = rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / 127
    return (rows / scale).round_().clamp_(-127, 127).to(torch.int8), scale
