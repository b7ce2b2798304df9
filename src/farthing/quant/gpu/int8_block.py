"""Unpacks int8 blocks (`farthing.quant.int8_packed`) in torch, on any device."""

from __future__ import annotations

import torch

from farthing.quant.int8_packed import PANEL_CHANNELS, padded


def unpack(block: torch.Tensor, out_features: int, in_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unpack uint8 [packed_bytes] into int8 [out, in] and the scales [out, 1] fp32, both copies."""
    n, k, _ = padded(out_features, in_features)
    panels = block[: n * k].view(torch.int8).view(-1, k // 4, PANEL_CHANNELS, 4)
    quantised = panels.transpose(1, 2).reshape(n, k)[:out_features, :in_features]
    scales = block[-n * torch.float32.itemsize :].view(torch.float32)[:out_features, None]
    return quantised.contiguous(), scales.clone()
