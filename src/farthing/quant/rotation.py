"""A rotation of a product's inputs that makes them easier to quantise: x W^T = (x H)(W H)^T for an orthonormal H.

H is the Hadamard matrix of 64 (Sylvester's) on each 64 inputs. Channels that dwarf the others, as in the output of
trained models' LayerNorms, are spread over 64, so that they no longer coarsen the steps in which a row is quantised
(QuaRot, https://arxiv.org/abs/2404.00456). This module does not quantise, and does not decide which matrices are
rotated. Rotating the residual stream, which costs nothing when the model runs, is in
`farthing.models.forward.rotation`.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from farthing.core.arrays import Array, to_float32

BLOCK = 64


def can_rotate(in_features: int) -> bool:
    return in_features % BLOCK == 0


@functools.cache
def hadamard() -> Array:
    """The Hadamard matrix [64, 64] fp32, orthonormal and symmetric; its numbers, 1/8 and -1/8, are exact."""
    matrix = np.ones((1, 1), dtype=np.float32)
    while matrix.shape[0] < BLOCK:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    matrix /= np.float32(math.sqrt(BLOCK))
    matrix.flags.writeable = False
    return matrix


def rotate(rows: Array) -> Array:
    """x H of each row x of rows [n, width], in fp32, as a new array; the width is a multiple of 64.

    A product by BLAS: it adds the 64 numbers in their order, so that weights are packed to the same bytes as ever. The
    kernels, which rotate rows on their way, add in pairs; `NativeKernels.hadamard_rows` does as they do.
    """
    blocks = np.ascontiguousarray(to_float32(rows)).reshape(-1, BLOCK) @ hadamard()
    rotated: Array = blocks.reshape(rows.shape)
    return rotated
