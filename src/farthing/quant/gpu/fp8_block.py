"""Reads fp8 blocks (`farthing.quant.fp8`) in torch, on any device."""

from __future__ import annotations

import torch

from farthing.quant.gpu.rows import E4M3


def unpack(block: torch.Tensor, out: torch.Tensor) -> None:
    """Write the matrix that the block holds into `out` [out, in] of any float dtype."""
    scales, values = views(block, *out.shape)
    out.copy_(values).mul_(scales)


def views(block: torch.Tensor, out_features: int, in_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The block's parts in place: scales [out, 1] fp32 and values [out, in] e4m3."""
    first = out_features * torch.float32.itemsize
    values = block[first : first + out_features * in_features].view(E4M3).view(out_features, in_features)
    return block[:first].view(torch.float32).view(out_features, 1), values
