"""Unpacks nf4 blocks (`farthing.quant.nf4_packed`) in torch, on any device."""

from __future__ import annotations

import torch

from farthing.quant.int8_packed import PANEL_CHANNELS, padded
from farthing.quant.nf4_packed import BLOCK_INPUTS, LEVELS, part_bytes, steps


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
