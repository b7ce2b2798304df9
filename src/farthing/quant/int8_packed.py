"""The one form in which int8 matrices are kept and stored, in numpy; the native kernels read it as it is.

In: a matrix. Out: one block of bytes; and the reverse. The layout is documented in native/src/packed.h, and the native
`ft_pack_rows` writes the same bytes, only faster. A changed layout needs another version of folders
(`farthing.checkpoint.manifest`).
"""

from __future__ import annotations

import math

import numpy as np

from farthing.core.arrays import ALIGNMENT as ALIGNMENT
from farthing.core.arrays import Array, aligned_empty, to_float32

PANEL_CHANNELS = 32
CHUNK_INPUTS = 64
GROUP_INPUTS = 256
ACTIVATION_OFFSET = 128
FP32_BYTES = 4


def packed_bytes(out_features: int, in_features: int) -> int:
    """The length of the block of a matrix [out_features, in_features], a multiple of 64."""
    n, k, num_groups = padded(out_features, in_features)
    return n * (k + (num_groups + 2) * FP32_BYTES)


def pack(weight: Array) -> Array:
    """Pack weight [out, in] in fp32, bf16 or fp16 into uint8 [packed_bytes], aligned to 64."""
    return lay_out(*quantise_rows(to_float32(weight)))


def lay_out(quantised: Array, scale: Array) -> Array:
    """Lay out int8 [out, in] and scales [out, 1] fp32 as uint8 [packed_bytes]."""
    out_features, in_features = quantised.shape
    n, k, num_groups = padded(out_features, in_features)
    quantised = np.pad(quantised, ((0, n - out_features), (0, k - in_features)))
    panels = quantised.reshape(-1, PANEL_CHANNELS, k // 4, 4).swapaxes(1, 2)
    # Kernels add ACTIVATION_OFFSET to their unsigned factor; the corrections take it out of the sums again.
    grouped = np.pad(quantised, ((0, 0), (0, num_groups * GROUP_INPUTS - k))).reshape(n, num_groups, GROUP_INPUTS)
    sums = grouped.sum(2, dtype=np.int32) * np.int32(-ACTIVATION_OFFSET)  # [n, num_groups]
    by_panel = sums.reshape(-1, PANEL_CHANNELS, num_groups).swapaxes(1, 2)
    scales = np.pad(scale[:, 0], (0, n - out_features))
    block, at = aligned_empty(packed_bytes(out_features, in_features)), 0
    for part in (panels, sums.sum(1, dtype=np.int32), by_panel, scales):
        octets = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        block[at : at + octets.size] = octets
        at += octets.size
    return block


def unpack(block: Array, out_features: int, in_features: int) -> tuple[Array, Array]:
    """Unpack uint8 [packed_bytes] into int8 [out, in] and the scales [out, 1] fp32, both copies."""
    n, k, _ = padded(out_features, in_features)
    panels = block[: n * k].view(np.int8).reshape(-1, k // 4, PANEL_CHANNELS, 4)
    quantised = panels.swapaxes(1, 2).reshape(n, k)[:out_features, :in_features]
    scales = block[-n * FP32_BYTES :].view(np.float32)[:out_features, None]
    return quantised.copy(), scales.copy()


def padded(out_features: int, in_features: int) -> tuple[int, int, int]:
    """The number of channels in the block, of its inputs, and of the groups of its inputs."""
    n = math.ceil(out_features / PANEL_CHANNELS) * PANEL_CHANNELS
    k = math.ceil(in_features / CHUNK_INPUTS) * CHUNK_INPUTS
    return n, k, math.ceil(k / GROUP_INPUTS)


def quantise_rows(rows: Array) -> tuple[Array, Array]:
    """Quantise rows [n, width] fp32 to nearest int8 [n, width], the largest magnitude on 127, and scales [n, 1].

    A NaN or Inf gives its row a scale of NaN or Inf.
    """
    largest = np.abs(rows).max(axis=1, keepdims=True)
    inverse = np.zeros_like(largest)
    # The largest may be Inf or NaN, or so small that its inverse is Inf; steps that are no numbers become 0.
    with np.errstate(over="ignore", invalid="ignore"):
        np.divide(np.float32(127), largest, out=inverse, where=largest != 0)
        steps = np.rint(rows * inverse)
    np.nan_to_num(steps, copy=False, nan=0, posinf=0, neginf=0)
    return steps.astype(np.int8), largest / np.float32(127)
