"""The interface between the models and the weight formats.

A format packs a matrix into named arrays (which can be kept anywhere, written to a file, or copied to a card) and, for
a CPU, binds such arrays into a `NativeMatrix` (`farthing.quant.native_matrix`), which the native kernels multiply. On a
card `farthing.quant.gpu.linears` binds the same arrays, as tensors. Weights are fp32, bf16 (uint16) or fp16
(`farthing.core.arrays`).

A `Region` is memory that the matrices of one name share: each layer's matrix is unpacked there when its turn comes. A
model has one region for each matrix of a layer, so that it holds one layer unpacked. What was unpacked before is gone
with the next `take`. Regions are not for use by several threads at once: a model is computed by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from farthing.core.arrays import Array, aligned_empty
from farthing.core.deferred import dataclass
from farthing.quant import dense_packed, int8_packed

if TYPE_CHECKING:
    from farthing.quant.native.arguments import Form
    from farthing.quant.native.binding import NativeKernels
    from farthing.quant.native_matrix import NativeMatrix


class Region:
    def __init__(self) -> None:
        self._memory = aligned_empty(0)

    def take(self, num_bytes: int) -> Array:
        """Memory, uint8 [num_bytes] aligned to 64, with whatever was there before; it grows to the most asked for."""
        if self._memory.nbytes < num_bytes:
            self._memory = aligned_empty(num_bytes)
        return self._memory[:num_bytes]


@dataclass(frozen=True)
class MatrixShape:
    """
    Attributes:
        input_group: the number of inputs that share a scale where rows are quantised on their way in; None: the whole
            row.
    """

    out_features: int
    in_features: int
    input_group: int | None = None


class WeightFormat(Protocol):
    """A row of `farthing.quant.formats.FORMATS`."""

    @property
    def name(self) -> str: ...

    @property
    def quantises(self) -> bool:
        """Whether rows and weights are rounded to few steps, so that a channel that dwarfs the others does harm.

        If so, `farthing.engine.weights.convert` treats such channels before packing, which leaves the function as it
        is, and the vectors form a space of their own.
        """
        ...

    @property
    def is_packed_int8(self) -> bool:
        """Whether matrices are int8 blocks (`farthing.quant.int8_packed`), multiplied as int8 on every device."""
        ...

    @property
    def form(self) -> Form:
        """The form in which the native kernels multiply the format's matrices."""
        ...

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:
        """Whether a layer is unpacked just before it is multiplied.

        Args:
            is_resident: the layer stays on the device that multiplies it.
            fast_fp8: the card multiplies e4m3 as it is stored.
        """
        ...

    @property
    def unpacks_natively(self) -> bool:
        """Whether a layer's blocks are written anew for each batch, where the native kernels compute."""
        ...

    def pack(self, weight: Array, kernels: NativeKernels) -> dict[str, Array]:
        """The arrays that store `weight` [out_features, in_features].

        A format that quantises stores one array: "packed", uint8 [num_bytes], aligned to 64 and of a length that is a
        multiple of 64. The others store "weight", which may be the array that was given.
        """
        ...

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
        """Bind the packed arrays of a matrix of `shape`, for a CPU; `bias` is fp32 [out_features].

        `region` holds what is unpacked before it is multiplied, and is shared by the matrices of this name.

        Args:
            stays: the matrix is multiplied many times. Otherwise (layers that are read anew for each pass) nothing is
                kept but what the file holds.
        """
        ...

    def num_bytes(self, out_features: int, in_features: int) -> int:
        """The bytes that `pack` stores for a matrix of this shape."""
        ...


def block_bytes(form: Form, out_features: int, in_features: int) -> int:
    """The bytes of a block that the native kernels multiply (`NativeKernels.packed_bytes`), without them."""
    if form == "int8":
        return int8_packed.packed_bytes(out_features, in_features)
    return dense_packed.packed_bytes(out_features, in_features, np.dtype(np.float32 if form == "fp32" else np.float16))


@runtime_checkable
class CoarseFormat(Protocol):
    """A `WeightFormat` that leaves some matrices to a finer one (`farthing.models.layout.MatrixPart`)."""

    @property
    def finer(self) -> WeightFormat:
        """The finer format, of the same `form`. It quantises too, so that weights are treated alike; a model computes
        with both."""
        ...


@runtime_checkable
class CalibratedFormat(Protocol):
    """A `WeightFormat` whose rounding can go by what the inputs of a matrix look like."""

    def pack_calibrated(self, weight: Array, hessian: Array) -> dict[str, Array]:
        """Pack `weight` into arrays that load as those of `pack` do, but round it for its inputs.

        `hessian` [in_features, in_features] fp32 is X^T X of rows X.
        """
        ...
