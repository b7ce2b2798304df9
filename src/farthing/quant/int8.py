"""int8: weights with one scale for each output channel, rows of x with one for each token, exact sums in int32.

A matrix is one packed block (`farthing.quant.int8_packed`), which the native kernels (farthing.quant.native) multiply
as it is stored. Without them it is unpacked when it is bound, and multiplied by torch. On a card
`farthing.quant.gpu.int8` does both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch

from farthing.quant.format import Linear, MatrixShape, Region
from farthing.quant.gpu.int8 import GpuInt8Linear
from farthing.quant.int8_packed import pack, packed_bytes, quantise_rows, unpack
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import native_kernels


class Int8Format:
    name = "int8"
    quantises = True
    multiplies_int8 = is_packed_int8 = True
    is_laid_out_again = False

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:  # noqa: ARG002
        return on_card and not is_resident  # when it is brought there

    def pack(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        kernels = native_kernels() if weight.device.type == "cpu" else None
        if kernels is None:
            return {"packed": pack(weight)}
        return {"packed": kernels.pack(weight if weight.dtype is torch.bfloat16 else weight.float())}

    def linear(
        self,
        packed: Mapping[str, torch.Tensor],
        bias: torch.Tensor | None,
        shape: MatrixShape,
        region: Region,  # noqa: ARG002
    ) -> Linear:
        block = packed["packed"]
        if block.device.type != "cpu":
            return GpuInt8Linear(block, bias, shape)
        kernels = native_kernels()
        if kernels is not None:
            return NativeInt8Linear(kernels, block, shape.out_features, bias)
        return TorchInt8Linear(*unpack(block, shape.out_features, shape.in_features), bias, shape.input_group)

    def num_bytes(self, out_features: int, in_features: int) -> int:
        return packed_bytes(out_features, in_features)


class NativeLinear(ABC):
    """A matrix that the native kernels multiply: an int8 block, in whatever form it is stored; bias fp32 or None.

    As a `Linear` it gives each row one scale, whatever the input group: groups are for `NativeKernels.layer`.

    Attributes:
        keeps_block: the int8 block stays in memory as it is.
    """

    keeps_block: ClassVar[bool]

    def __init__(self, kernels: NativeKernels, out_features: int, bias: torch.Tensor | None) -> None:
        self.bias = None if bias is None else bias.float()
        self._kernels = kernels
        self._out_features = out_features

    @abstractmethod
    def int8_block(self) -> torch.Tensor:
        """The uint8 block of `farthing.quant.int8_packed`; it may be gone when another layer's is asked for."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._kernels.linear(x.float(), self.int8_block(), self._out_features, self.bias).to(x.dtype)


class NativeInt8Linear(NativeLinear):
    keeps_block = True

    def __init__(
        self, kernels: NativeKernels, packed: torch.Tensor, out_features: int, bias: torch.Tensor | None
    ) -> None:
        super().__init__(kernels, out_features, bias)
        self._packed = packed

    def int8_block(self) -> torch.Tensor:
        return self._packed


class TorchInt8Linear:
    """weight int8 [out, in], scale fp32 [out, 1]; with `group`, each group of that many inputs of a row has a scale."""

    def __init__(
        self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, group: int | None = None
    ) -> None:
        self._group = group or weight.shape[1]
        # Transposed views [inputs, out]: what _int_mm takes as its second factor.
        self._weights = [part.contiguous().t() for part in torch.split(weight, self._group, dim=1)]
        self._scale = scale.t()
        self._bias = None if bias is None else bias.float()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.zeros((), dtype=torch.float32)
        for rows, weight in zip(torch.split(x.float(), self._group, dim=1), self._weights, strict=True):
            quantised, scale = quantise_rows(rows)
            y = y + torch._int_mm(quantised, weight).float() * scale
        y = y * self._scale
        return (y if self._bias is None else y.add_(self._bias)).to(x.dtype)
