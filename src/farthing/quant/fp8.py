"""fp8: weights in e4m3 (`farthing.quant.e4m3`) with one scale for each output channel.

A matrix is one block: fp32 scales [out], e4m3 [out, in], and zeros up to a multiple of 64 bytes. Cards of compute
capability 8.9 and up multiply it as it is stored; other cards unpack it to the dtype of the rows before each product,
and a CPU unpacks it to fp32. There it saves memory, and no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from farthing.core.arrays import ALIGNMENT, Array, aligned_zeros, to_float32
from farthing.quant.dense_packed import panels
from farthing.quant.e4m3 import LARGEST, VALUES, encoded
from farthing.quant.format import MatrixShape, Region
from farthing.quant.native_matrix import NativeMatrix, UnpackedMatrix

if TYPE_CHECKING:
    from farthing.quant.native.binding import NativeKernels

FP32_BYTES = 4


class Fp8Format:
    name = "fp8"
    quantises = unpacks_natively = True
    is_packed_int8 = False
    form: Literal["fp32"] = "fp32"

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:  # noqa: ARG002
        return not fast_fp8

    def pack(self, weight: Array, kernels: NativeKernels) -> dict[str, Array]:  # noqa: ARG002
        block = aligned_zeros(self.num_bytes(*weight.shape))
        scales, codes = views(block, *weight.shape)
        numbers = to_float32(weight)
        scales[:] = np.abs(numbers).max(1, keepdims=True) / np.float32(LARGEST)
        with np.errstate(invalid="ignore"):  # Inf by Inf
            steps = np.divide(numbers, scales, out=np.zeros_like(numbers), where=scales != 0)
        codes[:] = encoded(steps)
        return {"packed": block}

    def bind(
        self,
        packed: Mapping[str, Array],
        bias: Array | None,
        shape: MatrixShape,
        region: Region,
        kernels: NativeKernels,
        *,
        stays: bool = True,  # noqa: ARG002
    ) -> NativeMatrix:
        write = partial(unpack_panels, packed["packed"], shape)
        return UnpackedMatrix(kernels, self.form, shape, bias, region, write)

    def num_bytes(self, out_features: int, in_features: int) -> int:
        num_bytes = out_features * (in_features + FP32_BYTES)
        return num_bytes + -num_bytes % ALIGNMENT


def unpack(block: Array, out: Array) -> None:
    """Write the matrix that the block holds into `out` [out, in] fp32."""
    scales, codes = views(block, *out.shape)
    with np.errstate(invalid="ignore"):  # 0 times a scale of Inf
        np.multiply(VALUES[codes], scales, out=out)


def unpack_panels(block: Array, shape: MatrixShape, panel_block: Array) -> None:
    """Write the matrix into a block of the form fp32 (`farthing.quant.dense_packed`), uint8."""
    size = shape.out_features, shape.in_features
    scales, codes = views(block, *size)
    with np.errstate(invalid="ignore"):
        for channels, panel in panels(panel_block.view(np.float32), *size):
            np.multiply(VALUES[codes[channels]], scales[channels], out=panel)


def views(block: Array, out_features: int, in_features: int) -> tuple[Array, Array]:
    """The block's parts in place: scales [out, 1] fp32 and the codes of e4m3 [out, in] uint8."""
    first = out_features * FP32_BYTES
    codes = block[first : first + out_features * in_features].reshape(out_features, in_features)
    return block[:first].view(np.float32).reshape(out_features, 1), codes
