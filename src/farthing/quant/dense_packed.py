"""How the native kernels lay out matrices that they multiply exactly, in numpy: panels of 32 output channels.

A block holds [n / 32][k][32] numbers, for n channels and k inputs padded with zeros to multiples of 32 and 16. The
native `ft_pack_rows` writes the same bytes, only faster; they are never stored in a file.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from farthing.core.arrays import Array
from farthing.quant.int8_packed import PANEL_CHANNELS

STEP_INPUTS = 16  # the inputs that kernels take at a time


def panels(block: Array, out_features: int, in_features: int) -> Iterator[tuple[slice, Array]]:
    """The panels of a block of numbers (any float dtype, [numbers]) to be filled, with the channels of each.

    Each is given as [channels, in_features] where it lies; what it has beside that is set to zero.
    """
    inputs = -(-in_features // STEP_INPUTS) * STEP_INPUTS
    for number, panel in enumerate(block.reshape(-1, inputs, PANEL_CHANNELS)):
        first = number * PANEL_CHANNELS
        channels = slice(first, min(first + PANEL_CHANNELS, out_features))
        panel[in_features:] = 0
        panel[:, channels.stop - first :] = 0
        yield channels, panel[:in_features, : channels.stop - first].T


def pack(weight: Array, block: Array) -> None:
    """Write all of `block`, the numbers of a block in the dtype of weight [out, in]."""
    for channels, panel in panels(block, *weight.shape):
        panel[:] = weight[channels]


def packed_bytes(out_features: int, in_features: int, dtype: np.dtype[np.generic]) -> int:
    """The length of the block of a matrix [out_features, in_features] of numbers of `dtype`."""
    channels = -(-out_features // PANEL_CHANNELS) * PANEL_CHANNELS
    return channels * -(-in_features // STEP_INPUTS) * STEP_INPUTS * dtype.itemsize
