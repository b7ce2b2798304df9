"""int8: weights with one scale for each output channel, rows of x with one for each token, exact sums in int32.

A matrix is one packed block (`farthing.quant.int8_packed`), which the native kernels multiply as it is stored.
`farthing.quant.gpu.int8` unpacks it for a card.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from farthing.core.arrays import Array
from farthing.quant.format import MatrixShape, Region
from farthing.quant.int8_packed import packed_bytes
from farthing.quant.native_matrix import NativeMatrix, StoredMatrix

if TYPE_CHECKING:
    from farthing.quant.native.binding import NativeKernels


class Int8Format:
    name = "int8"
    quantises = is_packed_int8 = True
    unpacks_natively = False
    form: Literal["int8"] = "int8"

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:  # noqa: ARG002
        return on_card and not is_resident  # when it is brought there

    def pack(self, weight: Array, kernels: NativeKernels) -> dict[str, Array]:
        return {"packed": kernels.pack("int8", weight)}

    def bind(
        self,
        packed: Mapping[str, Array],
        bias: Array | None,
        shape: MatrixShape,
        region: Region,  # noqa: ARG002
        kernels: NativeKernels,
        *,
        stays: bool = True,  # noqa: ARG002
    ) -> NativeMatrix:
        return StoredMatrix(kernels, self.form, shape, bias, packed["packed"])

    def num_bytes(self, out_features: int, in_features: int) -> int:
        return packed_bytes(out_features, in_features)
