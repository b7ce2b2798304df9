"""The rotation of a product's inputs (`farthing.quant.rotation`) in torch, and products with rotated rows."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod

import torch

from farthing.quant import rotation
from farthing.quant.gpu.linear import Linear
from farthing.quant.rotation import BLOCK

CPU = torch.device("cpu")


@functools.cache
def hadamard(device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The Hadamard matrix [64, 64]; its numbers, 1/8 and -1/8, are exact in every dtype."""
    return torch.tensor(rotation.hadamard(), dtype=dtype, device=device)


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
