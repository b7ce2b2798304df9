"""A fixed orthogonal rotation of a row, which spreads a channel that dwarfs the others over all of them.

The residual stream of an RMSNorm model can be rotated without changing the model's function, if the matrices that read
it and write to it are rotated with it. A row of int8 with one scale then loses far less. In: a width. Out: the rotation
and its inverse on fp32 rows. Source: QuaRot, https://arxiv.org/abs/2404.00456.

The rotation must never change, because folders of rotated weights rely on it. That is why its signs come from a hash
and not from a random number generator.
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from farthing.core.arrays import Array
from farthing.core.errors import CheckpointError

if TYPE_CHECKING:
    from farthing.quant.native.binding import NativeKernels
    from farthing.quant.native.passes import NativeRotation

MAX_PART = 4096  # the most rows of a matrix that is made; widths of models are products of two numbers below 100


class Rotation:
    """R = (left kron right) diag(signs), where left and right are orthogonal and of about equal size: two small
    products for a row.

    Attributes:
        left, right: [a, a] and [b, b] fp32, where a b is the width.
        signs: [width] fp32.

    Raises:
        CheckpointError: on construction, when the width cannot be split into two small enough numbers.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        size = next(size for size in range(math.isqrt(width), 0, -1) if width % size == 0)
        if width // size > MAX_PART:
            raise CheckpointError(
                f"Rows of {width:,} numbers cannot be rotated: the largest part would have {width // size:,}, and at "
                f"most {MAX_PART:,} are built. Take an exact format (fp32, bf16)."
            )
        self.left, self.right = orthogonal(size), orthogonal(width // size)
        self.signs = signs(width)

    def apply(self, rows: Array, kernels: NativeKernels | None = None) -> Array:
        """R x for each row x of rows [n, width] fp32, by the kernels' threads where there are kernels."""
        if kernels is not None:
            return kernels.rotate_rows(self.native, rows)
        return self._turn(rows * self.signs, self.left, self.right)

    def inverse(self, rows: Array, kernels: NativeKernels | None = None) -> Array:
        """R^T x for each row x of rows [n, width] fp32."""
        if kernels is not None:
            return kernels.rotate_rows(self.native, rows, inverse=True)
        turned = self._turn(rows, self.left.T, self.right.T)
        turned *= self.signs
        return turned

    @cached_property
    def native(self) -> NativeRotation:
        """The rotation as the kernels take it."""
        from farthing.quant.native.passes import NativeRotation

        return NativeRotation(self.left, self.right, self.signs)

    def _turn(self, rows: Array, left: Array, right: Array) -> Array:
        size, inner = left.shape[0], right.shape[0]
        products = np.ascontiguousarray(rows).reshape(-1, inner) @ right.T
        turned: Array = (left @ products.reshape(-1, size, inner)).reshape(-1, self.width)
        return turned


def orthogonal(size: int) -> Array:
    """An orthogonal matrix [size, size] fp32: Hadamard for the power of two in `size`, DCT-II for what is left."""
    power = size & -size
    matrix: Array = np.kron(hadamard(power), dct(size // power)).astype(np.float32)
    return matrix


def hadamard(size: int) -> Array:
    """Sylvester's Hadamard matrix, scaled to be orthonormal, fp64; `size` is a power of two."""
    matrix, double = np.ones((1, 1)), np.array([[1.0, 1.0], [1.0, -1.0]])
    while matrix.shape[0] < size:
        matrix = np.kron(matrix, double)
    matrix /= math.sqrt(size)
    return matrix


def dct(size: int) -> Array:
    """The orthonormal DCT-II matrix, [frequencies, places], fp64."""
    index = np.arange(size, dtype=np.float64)
    matrix: Array = np.cos(math.pi / size * index[:, None] * (index + 0.5)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def signs(width: int) -> Array:
    """The signs [width] of the channels, each -1 or 1, fp32."""
    stream = hashlib.shake_256(f"rotation of {width} channels".encode()).digest(math.ceil(width / 8))
    bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8))[:width]
    found: Array = bits * np.float32(2) - np.float32(1)
    return found
