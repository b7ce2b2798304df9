"""nf4: 4-bit NormalFloat weights, 4.16 bits each with their scales (`farthing.quant.nf4_packed`).

Nothing multiplies four bits. On a CPU with native kernels a matrix is unpacked to the packed int8 form just before its
layer runs, and the layer is computed as an int8 one; elsewhere the matrix is unpacked to the dtype of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch

from farthing.quant.format import Linear, MatrixShape, Region
from farthing.quant.gpu.support import triton_runs
from farthing.quant.int8 import Int8Format, NativeLinear
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import native_kernels
from farthing.quant.nf4_calibrated import pack_calibrated
from farthing.quant.nf4_packed import SCALE_CANDIDATES, pack, packed_bytes, unpack
from farthing.quant.unpacked import UnpackedLinear


class Nf4Format:
    name = "nf4"
    quantises = True
    multiplies_int8 = True
    is_packed_int8 = is_laid_out_again = False
    finer = Int8Format()

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:  # noqa: ARG002
        return True

    def pack(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        kernels = native_kernels() if weight.device.type == "cpu" else None
        if kernels is None:
            return {"packed": pack(weight)}
        block = torch.zeros(packed_bytes(*weight.shape), dtype=torch.uint8)
        kernels.pack_nf4(weight if weight.dtype is torch.bfloat16 else weight.float(), SCALE_CANDIDATES, block)
        return {"packed": block}

    def pack_calibrated(self, weight: torch.Tensor, hessian: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"packed": pack_calibrated(weight, hessian)}

    def linear(
        self, packed: Mapping[str, torch.Tensor], bias: torch.Tensor | None, shape: MatrixShape, region: Region
    ) -> Linear:
        block = packed["packed"]
        kernels = native_kernels() if block.device.type == "cpu" else None
        if kernels is not None:
            return NativeNf4Linear(kernels, block, bias, shape, region)
        return UnpackedLinear(partial(unpacker(block.device), block), bias, shape, region)

    def num_bytes(self, out_features: int, in_features: int) -> int:
        return packed_bytes(out_features, in_features)


def unpacker(device: torch.device) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """The function that writes a block's matrix: one Triton kernel where it runs there, else torch's operations."""
    if not triton_runs(device):
        return unpack
    from farthing.quant.gpu import nf4_kernel

    return nf4_kernel.unpack


class NativeNf4Linear(NativeLinear):
    """A matrix whose int8 block is unpacked anew at each call, and gone when the next one of its name is unpacked."""

    keeps_block = False

    def __init__(
        self,
        kernels: NativeKernels,
        packed: torch.Tensor,
        bias: torch.Tensor | None,
        shape: MatrixShape,
        region: Region,
    ) -> None:
        super().__init__(kernels, shape.out_features, bias)
        self._packed, self._shape, self._region = packed, shape, region

    def int8_block(self) -> torch.Tensor:
        n, k = self._shape.out_features, self._shape.in_features
        block = self._region.take((self._kernels.packed_bytes(n, k),), torch.uint8, self._packed.device)
        self._kernels.unpack_nf4(self._packed, n, k, block)
        return block
