"""The product of int8 rows and int8 weights, with its scales and bias, in one Triton kernel.

torch._int_mm writes its sums as int32, which must be read again to be scaled: for narrow models that takes as long as
the product. Here sums are scaled where they are made. The walk over blocks is that of Triton's tutorial on matrix
products.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl

GROUP_ROWS = 8  # blocks of rows that take turns with the same weights, which stay in the L2 cache
# Major compute capabilities with 227 KB of shared memory for a program (Hopper, and Blackwell for data centres).
LARGE_SHARED_MEMORY = (9, 10)


@triton.jit(do_not_specialize=["num_rows"])
def product_kernel(
    rows, row_scales, weight, scales, bias, out, num_rows, out_features, in_features,
    HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, OUT: tl.constexpr, INPUTS: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    program, row_blocks, out_blocks = tl.program_id(0), tl.cdiv(num_rows, ROWS), tl.cdiv(out_features, OUT)
    first = program // (GROUP * out_blocks) * GROUP
    together = tl.minimum(row_blocks - first, GROUP)
    within = program % (GROUP * out_blocks)
    row = (first + within % together) * ROWS + tl.arange(0, ROWS)
    channel = within // together * OUT + tl.arange(0, OUT)
    place = tl.arange(0, INPUTS)
    x_at = rows + (row % num_rows)[:, None].to(tl.int64) * in_features + place[None, :]
    w_at = weight + (channel % out_features)[None, :] * in_features + place[:, None]
    sums = tl.zeros((ROWS, OUT), tl.int32)
    for _ in range(0, in_features // INPUTS):
        sums = tl.dot(tl.load(x_at), tl.load(w_at), sums)
        x_at += INPUTS
        w_at += INPUTS
    y = sums.to(tl.float32) * tl.load(row_scales + row, mask=row < num_rows, other=0.0)[:, None]
    y = y * tl.load(scales + channel, mask=channel < out_features, other=0.0)[None, :]
    if HAS_BIAS:
        y += tl.load(bias + channel, mask=channel < out_features, other=0.0)[None, :]
    at = out + row[:, None].to(tl.int64) * out_features + channel[None, :]
    tl.store(at, y.to(out.dtype.element_ty), mask=(row < num_rows)[:, None] & (channel < out_features)[None, :])


def launch_options(num_rows: int, in_features: int, major: int) -> dict[str, int]:
    """The sizes of the blocks that a program takes, for a card of the major compute capability `major`."""
    block_rows = min(128, max(16, triton.next_power_of_2(num_rows)))
    is_large = major in LARGE_SHARED_MEMORY
    return {
        "ROWS": block_rows,
        "OUT": 256 if is_large and block_rows == 128 else 128,
        "INPUTS": 128 if is_large and in_features % 128 == 0 else 64,
        "GROUP": GROUP_ROWS,
        "num_warps": 8 if block_rows == 128 else 4,
        "num_stages": 3,
    }


def scaled_product(
    rows: torch.Tensor,
    row_scales: torch.Tensor,
    weight: torch.Tensor,
    scales: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Do as `farthing.quant.gpu.int8.scaled_product`; in_features must be a multiple of 64."""
    num_rows, (out_features, in_features) = rows.shape[0], weight.shape
    y = torch.empty((num_rows, out_features), dtype=dtype, device=rows.device)
    major = torch.cuda.get_device_capability(rows.device)[0] if rows.is_cuda else 0
    options = launch_options(num_rows, in_features, major)
    grid = (triton.cdiv(num_rows, options["ROWS"]) * triton.cdiv(out_features, options["OUT"]),)
    with torch.cuda.device_of(rows):
        product_kernel[grid](
            rows,
            row_scales,
            weight,
            scales,
            scales if bias is None else bias,
            y,
            num_rows,
            out_features,
            in_features,
            HAS_BIAS=bias is not None,
            **options,
        )
    return y
