"""Rounds a matrix input by input, and makes up for each error in the inputs that are not rounded yet.

GPTQ (https://arxiv.org/abs/2210.17323) looks, among the ways to round the weights w of a channel, for one that keeps X
w, for rows X that a model really computes. H = X^T X says how inputs go together: what rounding one input did to X w
can be undone in part by changing others, and the Cholesky factor of the inverse says by how much. This module knows no
weight format: the caller's function rounds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing.core.arrays import Array

# The share of the mean of H's diagonal that is added to the diagonal. The paper has 0.01; with few texts, more serves
# other texts (docs/log.md).
DAMPING = 0.1
SMALL = 64  # the size of a triangular matrix that is inverted as a whole

# weight [n, inputs of a block] -> what rounds the block's inputs one by one: (place in the block, values [n]) -> [n]
BlockRounding = Callable[[Array], Callable[[int, Array], Array]]


def round_with_feedback(weight: Array, hessian: Array, block_inputs: int, begin: BlockRounding) -> None:
    """Round weight [n, k] fp32, which becomes scratch, in one pass; `begin` is called for each block of inputs.

    k must be a multiple of `block_inputs`, and hessian [k, k] finite. With a diagonal `hessian` every value is rounded
    as it is. A channel that holds NaN or Inf makes NaN and Inf of its own values alone, which is no cause to warn.
    """
    factor = inverse_factor(hessian)
    columns = np.ascontiguousarray(weight.T)  # [k, n]
    errors = np.empty((block_inputs, columns.shape[1]), dtype=np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for first in range(0, columns.shape[0], block_inputs):
            after = first + block_inputs
            block, own = columns[first:after], factor[first:after, first:after]
            rounded = begin(np.ascontiguousarray(block.T))
            for place in range(block_inputs):
                np.divide(block[place] - rounded(place, block[place]), own[place, place], out=errors[place])
                block[place + 1 :] -= own[place, place + 1 :, None] * errors[place]
            columns[after:] -= factor[first:after, after:].T @ errors


def inverse_factor(hessian: Array) -> Array:
    """The upper triangular U [k, k] fp32 with U^T U = (H + damping)^-1, computed in fp64: H is often near singular.

    With the order of inputs reversed, Cholesky's factor of H + damping is upper triangular: V V^T. Then U is V^-1.
    """
    damped = np.array(hessian[::-1, ::-1], dtype=np.float64)
    diagonal = np.einsum("ii->i", damped)
    diagonal += DAMPING * float(diagonal.mean()) or 1.0  # any value, where there are no rows
    upper = np.linalg.cholesky(damped)[::-1, ::-1]
    del damped, diagonal
    invert_upper(upper)
    return np.ascontiguousarray(upper, dtype=np.float32)


def invert_upper(matrix: Array) -> None:
    """Invert an upper triangular matrix [k, k] in place: halves are inverted by themselves, then joined."""
    size = matrix.shape[0]
    if size <= SMALL:
        matrix[:] = np.triu(np.linalg.inv(matrix))
        return
    half = size // 2
    left, joint, right = matrix[:half, :half], matrix[:half, half:], matrix[half:, half:]
    invert_upper(left)
    invert_upper(right)
    joint[:] = -(left @ joint) @ right
