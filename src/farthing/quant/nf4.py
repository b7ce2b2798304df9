"""nf4: 4-bit NormalFloat weights, 4.16 bits each with their scales (`farthing.quant.nf4_packed`).

Nothing multiplies four bits. On a CPU a matrix is unpacked to the packed int8 form just before its layer runs, and the
layer is computed as an int8 one; on a card the matrix is unpacked to the dtype of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from farthing.core.arrays import Array, aligned_zeros, to_float32
from farthing.quant.format import MatrixShape, Region
from farthing.quant.int8 import Int8Format
from farthing.quant.native_matrix import NativeMatrix, UnpackedMatrix
from farthing.quant.nf4_packed import SCALE_CANDIDATES, packed_bytes

if TYPE_CHECKING:
    from farthing.quant.native.binding import NativeKernels


class Nf4Format:
    name = "nf4"
    quantises = unpacks_natively = True
    is_packed_int8 = False
    form: Literal["int8"] = "int8"
    finer = Int8Format()

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:  # noqa: ARG002
        return True

    def pack(self, weight: Array, kernels: NativeKernels) -> dict[str, Array]:
        block = aligned_zeros(packed_bytes(*weight.shape))
        kernels.pack_nf4(to_float32(weight) if weight.dtype == np.float16 else weight, SCALE_CANDIDATES, block)
        return {"packed": block}

    def pack_calibrated(self, weight: Array, hessian: Array) -> dict[str, Array]:
        from farthing.quant.nf4_calibrated import pack_calibrated  # only to make folders

        return {"packed": pack_calibrated(weight, hessian)}

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
        write = partial(kernels.unpack_nf4, packed["packed"], shape.out_features, shape.in_features)
        return UnpackedMatrix(kernels, self.form, shape, bias, region, write)

    def num_bytes(self, out_features: int, in_features: int) -> int:
        return packed_bytes(out_features, in_features)
