"""A weight format that there is not, to show that one is a file and a row: fp16 numbers in one block of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from farthing.core.arrays import Array, aligned_zeros
from farthing.quant.format import MatrixShape, Region
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native_matrix import NativeMatrix, UnpackedMatrix


class ToyFormat:
    name = "toy"
    form: Literal["fp16"] = "fp16"
    quantises = unpacks_natively = True
    is_packed_int8 = False

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:  # noqa: ARG002
        return True

    def pack(self, weight: Array, kernels: NativeKernels) -> dict[str, Array]:  # noqa: ARG002
        block = aligned_zeros(self.num_bytes(*weight.shape))
        stored = np.ascontiguousarray(weight, dtype=np.float16).view(np.uint8).ravel()
        block[: stored.size] = stored
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
        size = shape.out_features, shape.in_features
        weight = packed["packed"].view(np.float16)[: size[0] * size[1]].reshape(size)

        def write(block: Array) -> None:
            block[:] = kernels.pack("fp16", weight)

        return UnpackedMatrix(kernels, self.form, shape, bias, region, write)

    def num_bytes(self, out_features: int, in_features: int) -> int:
        num_bytes = 2 * out_features * in_features
        return num_bytes + -num_bytes % 64
