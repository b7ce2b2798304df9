"""Rounding a matrix input by input, each error made up for in the inputs that are not rounded yet.

GPTQ (https://arxiv.org/abs/2210.17323): of the ways to round the weights w of a channel, one that keeps X w is wanted,
for rows X that a model really computes. H = X^T X says how inputs go together: what rounding one of them did to X w can
be undone in part by changing others, and the inverse's Cholesky factor says by how much. It knows no weight format: the
caller's function rounds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

# Of the mean of H's diagonal, added to it. The paper has 0.01; with few texts, more serves other texts (docs/log.md).
DAMPING = 0.1

# weight [n, inputs of a block] -> what rounds the block's inputs one by one: (place in the block, values [n]) -> [n]
BlockRounding = Callable[[torch.Tensor], Callable[[int, torch.Tensor], torch.Tensor]]


def round_with_feedback(weight: torch.Tensor, hessian: torch.Tensor, block_inputs: int, begin: BlockRounding) -> None:
    """Go through weight [n, k] fp32 once, which becomes scratch; `begin` is called when a block of inputs is begun.

    k must be a multiple of `block_inputs`, hessian [k, k] finite. With a diagonal `hessian` every value is rounded as
    it is.
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
    """Upper triangular U [k, k] fp32 with U^T U = (H + damping)^-1, computed in fp64: H is often near singular."""
    damped = hessian.double()
    damped.diagonal().add_(DAMPING * damped.diagonal().mean().item() or 1.0)  # of no rows at all: any value
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    del damped
    factor: torch.Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor.float()
