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

import numpy as np
import torch

from farthing.core.errors import CheckpointError

MAX_PART = 4096  # the most rows of a matrix that is made; widths of models are products of two numbers below 100


class Rotation:
    """R = (A kron B) diag(signs), where A and B are orthogonal and of about equal size: two small products for a row.

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
        self._a, self._b = orthogonal(size), orthogonal(width // size)
        self._signs = signs(width)

    def apply(self, rows: torch.Tensor) -> torch.Tensor:
        """R x for each row x of rows [n, width] fp32."""
        return self._turn(rows * self._signs.to(rows.device), self._a, self._b)

    def inverse(self, rows: torch.Tensor) -> torch.Tensor:
        """R^T x for each row x of rows [n, width] fp32."""
        return self._turn(rows, self._a.T, self._b.T).mul_(self._signs.to(rows.device))

    def _turn(self, rows: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        blocks = rows.reshape(-1, a.shape[0], b.shape[0])
        return (a.to(rows.device) @ (blocks @ b.T.to(rows.device))).view(-1, self.width)


def orthogonal(size: int) -> torch.Tensor:
    """An orthogonal matrix [size, size] fp32: Hadamard for the power of two in `size`, DCT-II for what is left."""
    power = size & -size
    return torch.kron(hadamard(power), dct(size // power)).float()


def hadamard(size: int) -> torch.Tensor:
    """Sylvester's Hadamard matrix, scaled to be orthonormal; `size` is a power of two."""
    matrix, double = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    while matrix.shape[0] < size:
        matrix = torch.kron(matrix, double)
    return matrix / math.sqrt(size)


def dct(size: int) -> torch.Tensor:
    """The orthonormal DCT-II matrix, [frequencies, places]."""
    index = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * index[:, None] * (index + 0.5)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def signs(width: int) -> torch.Tensor:
    """The signs [width] of the channels, each -1 or 1."""
    stream = hashlib.shake_256(f"rotation of {width} channels".encode()).digest(math.ceil(width / 8))
    bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8))[:width]
    return torch.from_numpy(bits * np.float32(2) - np.float32(1))
