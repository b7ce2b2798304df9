"""Rounds a matrix input by input, and makes up for each error in the inputs that are not rounded yet.

GPTQ (https://arxiv.org/abs/2210.17323) looks, among the ways to round the weights w of a channel, for one that keeps X
w, for rows X that a model really computes. H = X^T X says how inputs go together: what rounding one input did to X w
can be undone in part by changing others, and the Cholesky factor of the inverse says by how much. This module knows no
weight format: the caller's function rounds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

# The share of the mean of H's diagonal that is added to the diagonal. The paper has 0.01; with few texts, more serves
# other texts (docs/log.md).
DAMPING = 0.1

# weight [n, inputs of a block] -> what rounds the block's inputs one by one: (place in the block, values [n]) -> [n]
BlockRounding = Callable[[torch.Tensor], Callable[[int, torch.Tensor], torch.Tensor]]


def round_with_feedback(weight: torch.Tensor, hessian: torch.Tensor, block_inputs: int, begin: BlockRounding) -> None:
    """Round weight [n, k] fp32, which becomes scratch, in one pass; `begin` is called for each block of inputs.

    k must be a multiple of `block_inputs`, and hessian [k, k] finite. With a diagonal `hessian` every value is rounded
    as it is.
    """
    factor = inverse_factor(hessian)
    columns = weight.T.contiguous()  # [k, n]
    errors = torch.empty(block_inputs, columns.shape[1])
    for first in range(0, columns.shape[0], block_inputs):
        after = first + block_inputs
        block, own = columns[first:after], factor[first:after, first:after]
        rounded = begin(block.T.contiguous())
        for place in range(block_inputs):
            errors[place] = (block[place] - rounded(place, block[place])) / own[place, place]
            block[place + 1 :].addr_(own[place, place + 1 :], errors[place], alpha=-1)
        columns[after:].addmm_(factor[first:after, after:].T, errors, alpha=-1)


def inverse_factor(hessian: torch.Tensor) -> torch.Tensor:
    """The upper triangular U [k, k] fp32 with U^T U = (H + damping)^-1, computed in fp64: H is often near singular."""
    damped = hessian.double()
    damped.diagonal().add_(DAMPING * damped.diagonal().mean().item() or 1.0)  # any value, where there are no rows
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    del damped
    factor: torch.Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor.float()
