"""fp8: weights in e4m3 (https://arxiv.org/abs/2209.05433) with one scale for each output channel.

A matrix is one block: fp32 scales [out], e4m3 [out, in], and zeros up to a multiple of 64 bytes. Cards of compute
capability 8.9 and up multiply it as it is stored (`farthing.quant.gpu.fp8`); elsewhere it is unpacked to the dtype of
the rows before each product.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch

from farthing.quant.format import Linear, MatrixShape, Region
from farthing.quant.gpu.fp8 import GpuFp8Linear, can_multiply
from farthing.quant.gpu.support import multiplies_fp8
from farthing.quant.int8_packed import ALIGNMENT
from farthing.quant.unpacked import UnpackedLinear

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max  # 448


class Fp8Format:
    name = "fp8"
    quantises = True
    multiplies_int8 = is_packed_int8 = is_laid_out_again = False

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:  # noqa: ARG002
        return not fast_fp8

    def pack(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        block = torch.zeros(self.num_bytes(*weight.shape), dtype=torch.uint8, device=weight.device)
        scales, values = views(block, *weight.shape)
        scales.copy_(weight.abs().amax(1, keepdim=True).float() / LARGEST)
        values.copy_(torch.where(scales == 0, 0.0, weight.float() / scales))
        return {"packed": block}

    def linear(
        self, packed: Mapping[str, torch.Tensor], bias: torch.Tensor | None, shape: MatrixShape, region: Region
    ) -> Linear:
        block, size = packed["packed"], (shape.out_features, shape.in_features)
        unpacked = UnpackedLinear(partial(unpack, block), bias, shape, region)
        if multiplies_fp8(block.device) and can_multiply(*size):
            scales, values = views(block, *size)
            return GpuFp8Linear(values, scales, bias, unpacked)
        return unpacked

    def num_bytes(self, out_features: int, in_features: int) -> int:
        num_bytes = out_features * (in_features + torch.float32.itemsize)
        return num_bytes + -num_bytes % ALIGNMENT


def unpack(block: torch.Tensor, out: torch.Tensor) -> None:
    """Write the matrix that the block holds into `out` [out, in] of any float dtype."""
    scales, values = views(block, *out.shape)
    out.copy_(values).mul_(scales)


def views(block: torch.Tensor, out_features: int, in_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The block's parts in place: scales [out, 1] fp32 and values [out, in] e4m3."""
    first = out_features * torch.float32.itemsize
    values = block[first : first + out_features * in_features].view(E4M3).view(out_features, in_features)
    return block[:first].view(torch.float32).view(out_features, 1), values
