"""A matrix as the native kernels multiply it: a block in one of their forms, however it is stored.

In: a stored block, or what writes one. Out: the block when it is asked for, which a layer's call takes, and products of
single matrices. On a CPU every weight format binds to one of these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from farthing.core.arrays import BF16, Array, to_bf16, to_float32
from farthing.quant.format import MatrixShape, Region
from farthing.quant.int8_packed import PANEL_CHANNELS
from farthing.quant.rotation import BLOCK, hadamard

if TYPE_CHECKING:
    from farthing.quant.native.arguments import Form
    from farthing.quant.native.binding import NativeKernels

DTYPES: dict[str, np.dtype[Any]] = {"fp32": np.dtype(np.float32), "bf16": BF16, "fp16": np.dtype(np.float16)}


class NativeMatrix(ABC):
    """W [out_features, in_features] with a bias, fp32 [out_features] or None.

    Attributes:
        keeps_block: the block stays in memory as it is.
    """

    keeps_block: ClassVar[bool]

    def __init__(self, kernels: NativeKernels, form: Form, shape: MatrixShape, bias: Array | None) -> None:
        assert bias is None or bias.dtype == np.float32
        self.form, self.shape, self.bias = form, shape, bias
        self._kernels = kernels

    @abstractmethod
    def block(self) -> Array:
        """The block, uint8 aligned to 64, in `form`; it may be gone when another layer's is asked for."""

    def __call__(self, x: Array) -> Array:
        """x W^T + bias: x [tokens, in_features] fp32 -> [tokens, out_features] fp32.

        In int8 each row gets one scale, whatever the input group: groups are for whole layers.
        """
        return self._kernels.linear(self.form, x, self.block(), self.shape.out_features, self.bias)


class StoredMatrix(NativeMatrix):
    """A matrix whose block is there."""

    keeps_block = True

    def __init__(
        self, kernels: NativeKernels, form: Form, shape: MatrixShape, bias: Array | None, block: Array
    ) -> None:
        super().__init__(kernels, form, shape, bias)
        self._block = block

    def block(self) -> Array:
        return self._block


class UnpackedMatrix(NativeMatrix):
    """A matrix whose block is written anew at each call, into a region, and gone when the next one is written there."""

    keeps_block = False

    def __init__(
        self,
        kernels: NativeKernels,
        form: Form,
        shape: MatrixShape,
        bias: Array | None,
        region: Region,
        write: Callable[[Array], None],
    ) -> None:
        """`write` fills a block, uint8 [kernels.packed_bytes(form, ...)] of arbitrary content."""
        super().__init__(kernels, form, shape, bias)
        self._region, self._write = region, write

    def block(self) -> Array:
        num_bytes = self._kernels.packed_bytes(self.form, self.shape.out_features, self.shape.in_features)
        block = self._region.take(num_bytes)
        self._write(block)
        return block


class UnrotatedMatrix(NativeMatrix):
    """A matrix in an exact form whose inputs were rotated (`farthing.quant.rotation`) before it was stored, so that its
    block is rotated back: the kernels rotate rows only where they round them."""

    keeps_block = False

    def __init__(self, stored: NativeMatrix) -> None:
        assert stored.form != "int8"
        super().__init__(stored._kernels, stored.form, stored.shape, stored.bias)
        self._stored = stored
        self._kept = unrotated(stored.block(), stored) if stored.keeps_block else None

    def block(self) -> Array:
        return unrotated(self._stored.block(), self._stored) if self._kept is None else self._kept


def unrotated(block: Array, matrix: NativeMatrix) -> Array:
    """Rotate a block of panels [k][32] along k, in place."""
    numbers = block.view(DTYPES[matrix.form]).reshape(-1, BLOCK, PANEL_CHANNELS)
    turned = hadamard() @ to_float32(numbers)  # its own inverse
    numbers[:] = to_bf16(turned) if matrix.form == "bf16" else turned
    return block
