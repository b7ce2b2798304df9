"""fp8 on cards that multiply it: rows in e4m3 with one scale for each token, weights with one for each channel.

The block is multiplied as it is stored, but only by bf16 rows. Rows in fp32, which are computed again because they
overflowed, are multiplied by the unpacked weight.
"""

from __future__ import annotations

import torch

from farthing.quant.gpu.rotation import QuantisingLinear, rotate_rows
from farthing.quant.gpu.rows import E4M3, quantise
from farthing.quant.gpu.unpacked import UnpackedLinear

ALIGNED_FEATURES = 16  # torch._scaled_mm takes widths that are multiples of this


def can_multiply(out_features: int, in_features: int) -> bool:
    return out_features % ALIGNED_FEATURES == 0 and in_features % ALIGNED_FEATURES == 0


class GpuFp8Linear(QuantisingLinear):
    """Multiplies by weight e4m3 [out, in] with scales [out, 1] fp32; `unpacked` multiplies by the same weight."""

    def __init__(
        self, weight: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None, unpacked: UnpackedLinear
    ) -> None:
        self._weight, self._scales, self._bias, self._unpacked = weight, scales, bias, unpacked

    def product(self, x: torch.Tensor, *, rotates: bool) -> torch.Tensor:
        if x.dtype is not torch.bfloat16:
            return self._unpacked(rotate_rows(x) if rotates else x)
        rows, scales = quantise(x, E4M3, rotates=rotates)
        y = torch._scaled_mm(
            rows,
            self._weight.t(),
            scale_a=scales,
            scale_b=self._scales.t(),
            out_dtype=x.dtype,
            use_fast_accum=True,
        )
        return y if self._bias is None else y.add_(self._bias.to(x.dtype))


def unpack(block: torch.Tensor, out: torch.Tensor) -> None:
    """Write the matrix that the block holds into `out` [out, in] of any float dtype."""
    scales, values = views(block, *out.shape)
    out.copy_(values).mul_(scales)


def views(block: torch.Tensor, out_features: int, in_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The block's parts in place: scales [out, 1] fp32 and values [out, in] e4m3."""
    first = out_features * torch.float32.itemsize
    values = block[first : first + out_features * in_features].view(E4M3).view(out_features, in_features)
    return block[:first].view(torch.float32).view(out_features, 1), values
