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
from abc import ABC, abstractmethod

import torch

from farthing.quant.format import Linear

BLOCK = 64
CPU = torch.device("cpu")


def can_rotate(in_features: int) -> bool:
    return in_features % BLOCK == 0


@functools.cache
def hadamard(device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The Hadamard matrix [64, 64], orthonormal and symmetric; its numbers, 1/8 and -1/8, are exact in every dtype."""
    matrix = torch.ones(1, 1)
    while matrix.shape[0] < BLOCK:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1)))
    return matrix.div_(math.sqrt(BLOCK)).to(device, dtype)


def rotate(rows: torch.Tensor) -> torch.Tensor:
    """x H of each row x of rows [n, width], in fp32; the width is a multiple of 64."""
    blocks = rows.float().reshape(-1, BLOCK) @ hadamard(rows.device)
    return blocks.view(rows.shape)


def rotate_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rotate rows as `rotate` does, but keep their dtype; a card computes in that dtype too, with sums in fp32."""
    if rows.device.type == "cpu":
        return rotate(rows).to(rows.dtype)
    return (rows.reshape(-1, BLOCK) @ hadamard(rows.device, rows.dtype)).view(rows.shape)


class QuantisingLinear(ABC):
    """A `Linear` that quantises its rows itself, and can rotate them in the same pass over them."""

    @abstractmethod
    def product(self, x: torch.Tensor, *, rotates: bool) -> torch.Tensor:
        """x [tokens, in_features] -> [tokens, out_features] of the same dtype."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.product(x, rotates=False)


class RotatedLinear:
    """A product of `linear`, which is packed from `rotate(weight)`, with rows that are rotated likewise."""

    def __init__(self, linear: Linear) -> None:
        self.linear = linear

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.linear, QuantisingLinear):
            return self.linear.product(x, rotates=True)
        return self.linear(rotate_rows(x))
