"""Quantises rows on their way into a product on a card: one scale for each row, by Triton's kernel or torch's own."""

from __future__ import annotations

import torch

from farthing.quant.gpu.rotation import rotate_rows
from farthing.quant.gpu.support import triton_runs

E4M3 = torch.float8_e4m3fn


def quantise(rows: torch.Tensor, dtype: torch.dtype, *, rotates: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise rows [n, width] of any float dtype to int8 or e4m3 [n, width], and scales [n, 1] fp32.

    With `rotates` the rows are rotated first (`farthing.quant.rotation`). A NaN or Inf gives its row a scale of NaN or
    Inf.
    """
    if triton_runs(rows.device):
        from farthing.quant.gpu.rows_kernel import quantise as quantise_in_triton

        return quantise_in_triton(rows, dtype, rotates=rotates)
    rows = (rotate_rows(rows) if rotates else rows).float()
    return quantise_rows(rows) if dtype is torch.int8 else e4m3_rows(rows)


def quantise_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise rows [n, width] fp32 to nearest int8 [n, width], the largest magnitude on 127, and scales [n, 1]."""
    largest = rows.abs().amax(dim=1, keepdim=True)
    # 127.0 is a tensor: a plain number over a tensor would be its reciprocal times the number, rounded twice.
    inverse = torch.where(largest == 0, 0.0, torch.tensor(127.0) / largest)
    return (rows * inverse).round_().to(torch.int8), largest / 127


def e4m3_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise rows [n, width] fp32 to e4m3, with the largest magnitude on 448, and scales [n, 1]."""
    largest = rows.abs().amax(1, keepdim=True)
    limit = torch.finfo(E4M3).max
    inverse = torch.where(largest == 0, 0.0, torch.tensor(limit) / largest)
    return (rows * inverse).nan_to_num(0).to(E4M3), largest / limit
