"""How an NF4 matrix is stored, in numpy: 4-bit NormalFloat codes (QLoRA, https://arxiv.org/abs/2305.14314).

In: a matrix. Out: one block of bytes; and floats again. A value is level[code] * half steps / 2 * channel scale, with
one count of half steps (0 to 254) for each 64 inputs of an output channel, and one fp32 scale for each channel. So the
scales are quantised too, as in bitsandbytes, but against the largest of their channel and not by a code of their own.
Then level[code] * half steps / 2, rounded, is the value in the packed int8 form (`farthing.quant.int8_packed`) with the
same channel scale, and unpacking to that form needs neither a division nor a pass that looks for the largest.

The block, for n channels and k inputs padded to multiples of 32 and 64::

    uint32 [n / 32][k / 8][32]   eight inputs of a channel, the first in the lowest four bits
    fp32   [n]                   channel scales
    uint8  [n / 32][k / 64][32]  half steps
    zeros up to a multiple of 64 bytes
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from farthing.core.arrays import Array, aligned_zeros, to_float32
from farthing.quant.int8_packed import ALIGNMENT, CHUNK_INPUTS, FP32_BYTES, PANEL_CHANNELS, padded

# The quantiles of a normal distribution that QLoRA's appendix E lists, scaled to reach from -1 to 1.
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
BLOCK_INPUTS = CHUNK_INPUTS  # the inputs that share a count of half steps
MAX_HALF_STEPS = 254  # 127 steps, int8's largest
# Factors of a block's largest magnitude: the one with the least squared error makes its scale.
SCALE_CANDIDATES = (1.0, 0.96, 0.92, 0.88)
STEP_VALUES = 2**21  # the values that are converted at a time, which bounds scratch memory


def packed_bytes(out_features: int, in_features: int) -> int:
    """The length of the block of a matrix [out_features, in_features]."""
    num_bytes = sum(part_bytes(out_features, in_features))
    return num_bytes + -num_bytes % ALIGNMENT


def pack(weight: Array, candidates: Sequence[float] = SCALE_CANDIDATES) -> Array:
    """Pack weight [out, in] in fp32, bf16 or fp16 into uint8 [packed_bytes], aligned to 64.

    A NaN or Inf gives its channel a scale of NaN or Inf.
    """
    block = aligned_zeros(packed_bytes(*weight.shape))
    words, scales, half_steps = views(block, *weight.shape)
    for panels, channels in steps(*weight.shape):
        rows = to_float32(weight[channels])
        rows = np.pad(rows, ((0, -rows.shape[0] % PANEL_CHANNELS), (0, -rows.shape[1] % BLOCK_INPUTS)))
        blocks = rows.reshape(rows.shape[0], -1, BLOCK_INPUTS)
        largest = np.abs(blocks).max(2)  # [channels, blocks]
        scale = largest.max(1) / np.float32(127)
        codes, counts = quantised(blocks, largest, scale[:, None], candidates)
        words[panels] = pack_codes(codes.reshape(codes.shape[0], -1))
        scales[panels] = scale.reshape(-1, PANEL_CHANNELS)
        half_steps[panels] = counts.reshape(-1, PANEL_CHANNELS, counts.shape[1]).swapaxes(1, 2)
    return block


def quantised(
    blocks: Array, largest: Array, scale: Array, candidates: Sequence[float] = SCALE_CANDIDATES
) -> tuple[Array, Array]:
    """Quantise blocks [channels, blocks, 64] to codes and half steps, uint8.

    `largest` is [channels, blocks], and `scale` [channels, 1].
    """
    levels = np.array(LEVELS, dtype=np.float32)
    best_error = np.full_like(largest, np.inf)
    best_codes = np.zeros(blocks.shape, dtype=np.uint8)
    best_counts = np.zeros_like(largest)
    # Channels of zeros, and those that hold NaN or Inf, divide by zero and the like; what comes of it is no number.
    with np.errstate(all="ignore"):
        for factor in candidates:
            counts = np.rint(largest * np.float32(factor) / scale * np.float32(2))
            np.nan_to_num(counts, copy=False, nan=0, posinf=0, neginf=0)
            step = (counts / np.float32(2) * scale)[:, :, None]
            codes = nearest(np.where(step == 0, np.float32(0), blocks / step))
            error = sum_of(np.square(levels[codes] * step - blocks))
            better = error < best_error
            best_error = np.where(better, error, best_error)
            best_codes = np.where(better[:, :, None], codes, best_codes)
            best_counts = np.where(better, counts, best_counts)
    return best_codes, best_counts.astype(np.uint8)


def nearest(values: Array) -> Array:
    """The codes uint8 of the levels that are nearest to fp32 values, the lower one of two that are equally near."""
    levels = np.array(LEVELS, dtype=np.float32)
    borders = (levels[1:] + levels[:-1]) / np.float32(2)
    codes: Array = np.searchsorted(borders, values).astype(np.uint8)
    return codes


def sum_of(blocks: Array) -> Array:
    """Sum [..., 64] to [...], in the order in which the kernels sum, so that both decide alike between equal errors."""
    first, second, third, fourth = np.split(blocks, 4, axis=-1)
    lanes = first + second + third + fourth
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    sums: Array = lanes[..., 0]
    return sums


def pack_codes(codes: Array) -> Array:
    """Pack codes uint8 [channels, k] into uint8 [panels, k / 8, 32, 4]."""
    pairs = codes.reshape(-1, PANEL_CHANNELS, codes.shape[1] // 8, 4, 2)
    words: Array = (pairs[..., 0] | pairs[..., 1] << np.uint8(4)).swapaxes(1, 2)
    return words


def unpack(block: Array, out: Array) -> None:
    """Write the matrix that uint8 [packed_bytes] holds into `out` [out, in] fp32."""
    levels = np.array(LEVELS, dtype=np.float32)
    words, scales, half_steps = views(block, *out.shape)
    for panels, channels in steps(*out.shape):
        codes = unpack_codes(words[panels])
        counts = half_steps[panels].swapaxes(1, 2).reshape(codes.shape[0], -1)  # [channels, blocks]
        with np.errstate(invalid="ignore"):  # 0 times a scale of Inf
            step = counts.astype(np.float32) / np.float32(2) * scales[panels].reshape(-1, 1)
            values = levels[codes].reshape(*step.shape, BLOCK_INPUTS) * step[:, :, None]
        rows = out[channels]
        rows[:] = values.reshape(codes.shape)[: rows.shape[0], : rows.shape[1]]


def unpack_codes(words: Array) -> Array:
    """Unpack uint8 [panels, k / 8, 32, 4] into codes uint8 [channels, k]."""
    nibbles = np.stack((words & np.uint8(15), words >> np.uint8(4)), axis=-1)
    codes: Array = nibbles.swapaxes(1, 2).reshape(words.shape[0] * PANEL_CHANNELS, -1)
    return codes


def steps(out_features: int, in_features: int) -> Iterator[tuple[slice, slice]]:
    """Panels and their channels, as many at a time as hold about `STEP_VALUES`."""
    num_panels = max(1, STEP_VALUES // (PANEL_CHANNELS * in_features))
    for first in range(0, -(-out_features // PANEL_CHANNELS), num_panels):
        panels = slice(first, first + num_panels)
        yield panels, slice(panels.start * PANEL_CHANNELS, min(panels.stop * PANEL_CHANNELS, out_features))


def part_bytes(out_features: int, in_features: int) -> tuple[int, int, int]:
    """The bytes of the codes, of the channel scales and of the half steps."""
    n, k, _ = padded(out_features, in_features)
    return n * k // 2, n * FP32_BYTES, n * k // BLOCK_INPUTS


def views(block: Array, out_features: int, in_features: int) -> tuple[Array, Array, Array]:
    """The block's parts in place: codes uint8 [panels, k / 8, 32, 4], scales fp32 [panels, 32], half steps uint8
    [panels, k / 64, 32]."""
    n, k, _ = padded(out_features, in_features)
    codes, scales, steps_bytes = part_bytes(out_features, in_features)
    panels = n // PANEL_CHANNELS
    return (
        block[:codes].reshape(panels, k // 8, PANEL_CHANNELS, 4),
        block[codes : codes + scales].view(np.float32).reshape(panels, PANEL_CHANNELS),
        block[codes + scales : codes + scales + steps_bytes].reshape(panels, k // BLOCK_INPUTS, PANEL_CHANNELS),
    )
