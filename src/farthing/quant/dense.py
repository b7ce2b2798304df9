"""Unquantised weights: fp32, bf16, fp16, stored as plain numbers and multiplied exactly.

The native kernels take them in panels of 32 channels: a matrix that stays is laid out once, when it is bound, and one
that is read anew for each pass when it is multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from farthing.core.arrays import BF16, Array, to_bf16, to_float32
from farthing.core.deferred import dataclass
from farthing.quant.format import MatrixShape, Region
from farthing.quant.native_matrix import NativeMatrix, StoredMatrix, UnpackedMatrix

if TYPE_CHECKING:
    from farthing.quant.native.binding import NativeKernels


@dataclass(frozen=True)
class DenseFormat:
    """Weights stored as numbers of `dtype`."""

    name: str
    dtype: np.dtype[Any]
    form: Literal["fp32", "bf16", "fp16"]
    quantises: bool = False
    is_packed_int8: bool = False
    unpacks_natively: bool = False

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:  # noqa: ARG002
        return False

    def pack(self, weight: Array, kernels: NativeKernels) -> dict[str, Array]:  # noqa: ARG002
        return {"weight": as_dtype(weight, self.dtype)}

    def bind(
        self,
        packed: Mapping[str, Array],
        bias: Array | None,
        shape: MatrixShape,
        region: Region,
        kernels: NativeKernels,
        *,
        stays: bool = True,
    ) -> NativeMatrix:
        weight = packed["weight"]
        if stays:
            return StoredMatrix(kernels, self.form, shape, bias, kernels.pack(self.form, weight))
        write = partial(pack_into, kernels, self.form, weight)
        return UnpackedMatrix(kernels, self.form, shape, bias, region, write)

    def num_bytes(self, out_features: int, in_features: int) -> int:
        return out_features * in_features * self.dtype.itemsize


def pack_into(kernels: NativeKernels, form: Literal["fp32", "bf16", "fp16"], weight: Array, block: Array) -> None:
    block[:] = kernels.pack(form, weight)


def as_dtype(weight: Array, dtype: np.dtype[Any]) -> Array:
    """fp32, bf16 or fp16 numbers as `dtype`, rounded to nearest, ties to even; the array itself where it is so already.

    What fp16 cannot hold becomes Inf.
    """
    if weight.dtype == dtype:
        return weight
    numbers = to_float32(weight)
    if dtype == BF16:
        return to_bf16(numbers)
    with np.errstate(over="ignore"):
        converted: Array = numbers.astype(dtype, copy=False)
    return converted
