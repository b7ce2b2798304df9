"""The interface between the models and the weight formats.

A format packs a matrix into named tensors (which can be kept anywhere, copied between devices or written to a file) and
binds such tensors into a `Linear`, ready to multiply where they lie. A model only ever calls `Linear`s: it knows
neither the format nor where the tensors came from.

A `Region` is memory that the matrices of one name share: each layer's matrix is unpacked there when its turn comes. A
model has one region for each matrix of a layer, so that it holds one layer unpacked. What was unpacked before is gone
with the next `take`. Regions are not for use by several threads at once: a model is computed by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch


class Region:
    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)

    def take(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """A tensor with whatever content was there before; the region grows to the largest one that was asked for."""
        num_bytes = math.prod(shape) * dtype.itemsize
        if self._memory.device != device or self._memory.numel() < num_bytes:
            self._memory = torch.empty(num_bytes, dtype=torch.uint8, device=device)
        return self._memory[:num_bytes].view(dtype).view(shape)


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


class Linear(Protocol):
    """y = x W^T + b, for `x` of any float dtype the format can compute in.

    Called with fp32 rows, it computes in fp32 whatever the format: that is how a row that overflowed in half
    precision is computed again.
    """

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x [tokens, in_features] -> [tokens, out_features] of the same dtype."""
        ...


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
    def multiplies_int8(self) -> bool:
        """Whether the format's `Linear`s on a CPU with native kernels are `farthing.quant.int8.NativeLinear`s."""
        ...

    @property
    def is_packed_int8(self) -> bool:
        """Whether matrices are int8 blocks (`farthing.quant.int8_packed`), multiplied as int8 on every device."""
        ...

    @property
    def is_laid_out_again(self) -> bool:
        """Whether a CPU multiplies the matrix in another layout than the stored one, into which it is brought once."""
        ...

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:
        """Whether a layer is unpacked just before it is multiplied.

        Args:
            is_resident: the layer stays on the device that multiplies it.
            fast_fp8: the card multiplies e4m3 as it is stored.
        """
        ...

    def pack(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tensors that store `weight` [out_features, in_features], on the same device.

        A format that quantises stores one tensor: "packed", uint8 [num_bytes], whose length is a multiple of 64.
        """
        ...

    def linear(
        self, packed: Mapping[str, torch.Tensor], bias: torch.Tensor | None, shape: MatrixShape, region: Region
    ) -> Linear:
        """Bind the packed tensors of a matrix of `shape`; `bias` is [out_features] in any float dtype.

        `region` holds what must be unpacked before it is multiplied, and is shared by the matrices of this name.
        """
        ...

    def num_bytes(self, out_features: int, in_features: int) -> int:
        """The bytes that `pack` stores for a matrix of this shape."""
        ...


@runtime_checkable
class CoarseFormat(Protocol):
    """A `WeightFormat` that leaves some matrices to a finer one (`farthing.models.layout.MatrixPart`)."""

    @property
    def finer(self) -> WeightFormat:
        """The finer format. It quantises too, so that weights are treated alike; a model computes with both."""
        ...


@runtime_checkable
class CalibratedFormat(Protocol):
    """A `WeightFormat` whose rounding can go by what the inputs of a matrix look like."""

    def pack_calibrated(self, weight: torch.Tensor, hessian: torch.Tensor) -> dict[str, torch.Tensor]:
        """Pack `weight` into tensors that load as those of `pack` do, but round it for its inputs.

        `hessian` [in_features, in_features] fp32 is X^T X of rows X.
        """
        ...
