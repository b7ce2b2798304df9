"""Quantises rows in one pass over them, in Triton: rotated where asked, with one scale for each row.

Each program takes a row. The rotation is the product of the row's blocks of 64 with the Hadamard matrix
(`farthing.quant.rotation`). Numbers of 16 bits are exact in tf32, and so is the matrix: only the sums are rounded.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl

from farthing.quant.gpu.rotation import hadamard
from farthing.quant.rotation import BLOCK

LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
LEAST_BLOCKS = 16  # the fewest that tl.dot multiplies at a time
SMALL_ROW_BLOCKS = 32


@triton.jit
def quantise_kernel(
    rows, matrix, values, scales, width,
    LARGEST: tl.constexpr, ROUNDS: tl.constexpr, ROTATES: tl.constexpr, PRECISION: tl.constexpr,
    BLOCKS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, WIDTH)
    column = tl.arange(0, BLOCKS)[:, None] * WIDTH + place[None, :]
    x = tl.load(rows + row * width + column, mask=column < width, other=0.0).to(tl.float32)
    if ROTATES:
        turn = tl.load(matrix + place[:, None] * WIDTH + place[None, :])
        x = tl.dot(x, turn, input_precision=PRECISION)
    # A maximum ignores NaN; the row's scale must not.
    is_nan = tl.max(tl.max((x != x).to(tl.int32), 1), 0)
    largest = tl.where(is_nan > 0, float("nan"), tl.max(tl.max(tl.abs(x), 1), 0))
    limit = tl.full((), LARGEST, tl.float32)
    steps = x * tl.div_rn(limit, tl.where(largest == 0.0, limit, largest))
    steps = tl.where(steps == steps, steps, 0.0)
    if ROUNDS:
        steps = (steps + 12582912.0) - 12582912.0  # 1.5 * 2^23: to nearest, ties to even, as torch.round
    tl.store(values + row * width + column, steps.to(values.dtype.element_ty), mask=column < width)
    tl.store(scales + row, tl.div_rn(largest, limit))


def launch_options(width: int) -> dict[str, int]:
    blocks = max(LEAST_BLOCKS, triton.next_power_of_2(triton.cdiv(width, BLOCK)))
    return {"BLOCKS": blocks, "WIDTH": BLOCK, "num_warps": 4 if blocks <= SMALL_ROW_BLOCKS else 8}


def quantise(rows: torch.Tensor, dtype: torch.dtype, *, rotates: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise rows [n, width] of any float dtype to int8 or e4m3 [n, width], and scales [n, 1] fp32.

    A NaN or Inf gives its row a scale of NaN or Inf.
    """
    rows = rows.contiguous()
    num_rows, width = rows.shape
    values = torch.empty((num_rows, width), dtype=dtype, device=rows.device)
    scales = torch.empty((num_rows, 1), dtype=torch.float32, device=rows.device)
    with torch.cuda.device_of(rows):
        quantise_kernel[(num_rows,)](
            rows,
            hadamard(rows.device),
            values,
            scales,
            width,
            LARGEST=LARGEST[dtype],
            ROUNDS=dtype is torch.int8,
            ROTATES=rotates,
            PRECISION="ieee" if rows.dtype is torch.float32 else "tf32",
            **launch_options(width),
        )
    return values, scales
