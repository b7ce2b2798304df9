"""A rotation of a product's inputs that makes them easier to quantise: x W^T = (x H)(W H)^T for an orthonormal H.

H is the Hadamard matrix of 64 (Sylvester's) on each 64 inputs. Channels that dwarf the others, as trained models have
in the output of their LayerNorms, are spread over 64, so that they no longer coarsen the steps in which a row is
quantised (QuaRot, https://arxiv.org/abs/2404.00456). What it does not do: quantise, or decide which matrices are
rotated. Rotating the residual stream, which costs nothing when the model runs, is in `farthing.models.rotation`.
"""

from __future__ import annotations

import functools
import math

import torch

from farthing.quant.format import Linear

BLOCK = 64


def can_rotate(in_features: int) -> bool:
    return in_features % BLOCK == 0


@functools.cache
def hadamard() -> torch.Tensor:
    """[64, 64] fp32, orthonormal and symmetric."""
    matrix = torch.ones(1, 1)
    while matrix.shape[0] < BLOCK:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1)))
    return matrix.div_(math.sqrt(BLOCK))


def rotate(rows: torch.Tensor) -> torch.Tensor:
    """rows [n, width], width a multiple of 64 -> x H, in fp32."""
    blocks = rows.float().reshape(-1, BLOCK) @ hadamard().to(rows.device)
    return blocks.view(rows.shape)


class RotatedLinear:
    """`linear`, packed from `rotate(weight)`, on rows that are rotated likewise."""

    def __init__(self, linear: Linear) -> None:
        self.linear = linear

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(rotate(x).to(x.dtype))
