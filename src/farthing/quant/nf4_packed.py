"""How an NF4 matrix is stored, in torch: 4-bit NormalFloat codes (QLoRA, https://arxiv.org/abs/2305.14314).

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

import torch
import torch.nn.functional as F

from farthing.quant.int8_packed import ALIGNMENT, CHUNK_INPUTS, PANEL_CHANNELS, padded

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


def pack(weight: torch.Tensor, candidates: Sequence[float] = SCALE_CANDIDATES) -> torch.Tensor:
    """Pack weight [out, in] in any float dtype into uint8 [packed_bytes], on the same device.

    A NaN or Inf gives its channel a scale of NaN or Inf.
    """
    block = torch.zeros(packed_bytes(*weight.shape), dtype=torch.uint8, device=weight.device)
    words, scales, half_steps = views(block, *weight.shape)
    for panels, channels in steps(*weight.shape):
        rows = weight[channels].float()
        rows = F.pad(rows, (0, -rows.shape[1] % BLOCK_INPUTS, 0, -rows.shape[0] % PANEL_CHANNELS))
        blocks = rows.view(rows.shape[0], -1, BLOCK_INPUTS)
        largest = blocks.abs().amax(2)  # [channels, blocks]
        scale = largest.amax(1) / 127
        codes, counts = quantised(blocks, largest, scale[:, None], candidates)
        words[panels] = pack_codes(codes.flatten(1))
        scales[panels] = scale.view(-1, PANEL_CHANNELS)
        half_steps[panels] = counts.view(-1, PANEL_CHANNELS, counts.shape[1]).transpose(1, 2)
    return block


def quantised(
    blocks: torch.Tensor, largest: torch.Tensor, scale: torch.Tensor, candidates: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise blocks [channels, blocks, 64] to codes and half steps, uint8.

    `largest` is [channels, blocks], and `scale` [channels, 1].
    """
    levels = torch.tensor(LEVELS, device=blocks.device)
    borders = (levels[1:] + levels[:-1]) / 2
    best_error = torch.full_like(largest, torch.inf)
    best_codes = torch.zeros(blocks.shape, dtype=torch.uint8, device=blocks.device)
    best_counts = torch.zeros_like(largest)
    for factor in candidates:
        counts = (largest * factor / scale * 2).round().nan_to_num(0, 0, 0)
        step = (counts / 2 * scale)[:, :, None]
        codes = torch.bucketize(torch.where(step == 0, 0, blocks / step), borders, out_int32=True)
        error = sum_of((levels[codes] * step - blocks).square())
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_codes = torch.where(better[:, :, None], codes, best_codes).to(torch.uint8)
        best_counts = torch.where(better, counts, best_counts)
    return best_codes, best_counts.to(torch.uint8)


def sum_of(blocks: torch.Tensor) -> torch.Tensor:
    """Sum [..., 64] to [...], in the order in which the kernels sum, so that both decide alike between equal errors."""
    first, second, third, fourth = torch.split(blocks, 16, dim=-1)
    lanes = first + second + third + fourth
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]


def pack_codes(codes: torch.Tensor) -> torch.Tensor:
    """Pack codes uint8 [channels, k] into uint8 [panels, k / 8, 32, 4]."""
    pairs = codes.reshape(-1, PANEL_CHANNELS, codes.shape[1] // 8, 4, 2)
    return (pairs[..., 0] | pairs[..., 1] << 4).transpose(1, 2)


def unpack(block: torch.Tensor, out: torch.Tensor) -> None:
    """Write the matrix that uint8 [packed_bytes] holds into `out` [out, in] of any float dtype, on the same device."""
    levels = torch.tensor(LEVELS, device=block.device)
    words, scales, half_steps = views(block, *out.shape)
    for panels, channels in steps(*out.shape):
        codes = unpack_codes(words[panels])
        counts = half_steps[panels].transpose(1, 2).flatten(0, 1)  # [channels, blocks]
        step = counts.float() / 2 * scales[panels].flatten()[:, None]
        values = levels.index_select(0, codes.flatten().int()).view(*step.shape, BLOCK_INPUTS) * step[:, :, None]
        rows = out[channels]
        rows.copy_(values.flatten(1)[: rows.shape[0], : rows.shape[1]])


def unpack_codes(words: torch.Tensor) -> torch.Tensor:
    """Unpack uint8 [panels, k / 8, 32, 4] into codes uint8 [channels, k]."""
    nibbles = torch.stack((words & 15, words >> 4), dim=-1)
    return nibbles.transpose(1, 2).reshape(words.shape[0] * PANEL_CHANNELS, -1)


def steps(out_features: int, in_features: int) -> Iterator[tuple[slice, slice]]:
    """Panels and their channels, as many at a time as hold about `STEP_VALUES`."""
    num_panels = max(1, STEP_VALUES // (PANEL_CHANNELS * in_features))
    for first in range(0, -(-out_features // PANEL_CHANNELS), num_panels):
        panels = slice(first, first + num_panels)
        yield panels, slice(panels.start * PANEL_CHANNELS, min(panels.stop * PANEL_CHANNELS, out_features))


def part_bytes(out_features: int, in_features: int) -> tuple[int, int, int]:
    """The bytes of the codes, of the channel scales and of the half steps."""
    n, k, _ = padded(out_features, in_features)
    return n * k // 2, n * torch.float32.itemsize, n * k // BLOCK_INPUTS


def views(block: torch.Tensor, out_features: int, in_features: int) -> list[torch.Tensor]:
    """The block's parts in place: codes uint8 [panels, k / 8, 32, 4], scales fp32 [panels, 32], half steps uint8
    [panels, k / 64, 32]."""
    n, k, _ = padded(out_features, in_features)
    sizes = part_bytes(out_features, in_features)
    words, scales, half_steps = torch.split(block[: sum(sizes)], list(sizes))
    panels = n // PANEL_CHANNELS
    return [
        words.view(panels, k // 8, PANEL_CHANNELS, 4),
        scales.view(torch.float32).view(panels, PANEL_CHANNELS),
        half_steps.view(panels, k // BLOCK_INPUTS, PANEL_CHANNELS),
    ]
