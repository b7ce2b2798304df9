"""Section "peak": the card's products and memory, and one matrix of the 4B in every format."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from functools import partial

import torch

from farthing.quant.format import MatrixShape
from farthing.quant.formats import FORMATS
from farthing.quant.gpu import int8
from farthing.quant.gpu.linear import TensorRegion
from farthing.quant.gpu.linears import card_linear
from farthing.quant.gpu.rows import E4M3, quantise
from farthing.quant.gpu.tensors import as_tensor
from farthing.quant.native.team import native_kernels
from gpu_parts.setting import Case, Figures, Setting, best_seconds

# gate and up of the 4B, and the rows of a chunk.
OUT_FEATURES, IN_FEATURES, NUM_ROWS = 19456, 2560, 8192
SMALL = (64, 64, 40)


def peak(setting: Setting) -> Iterator[Case]:
    for kind in PRODUCTS:
        yield Case(f"square products, {kind}", partial(square, setting, kind))
    yield Case("copy in memory", partial(copy, setting))
    for name in FORMATS:
        yield Case(f"a matrix of the 4b, {name}", partial(matrix, setting, name))
    yield Case("a matrix of the 4b, int8 by torch alone", partial(int8_by_torch, setting))


@functools.cache
def matmul_peak(setting: Setting) -> float:
    """Operations per second of the best square product in bf16."""
    return max(operations_per_s(setting, size, dense(setting, size, torch.bfloat16)) for size in setting.square)


def square(setting: Setting, kind: str) -> Figures:
    rates = {size: operations_per_s(setting, size, PRODUCTS[kind](setting, size)) for size in setting.square}
    best = max(rates, key=lambda size: rates[size])
    return {"TFLOP/s": rates[best] / 1e12, "size": best}


def operations_per_s(setting: Setting, size: int, product: Callable[[], object]) -> float:
    return 2 * size**3 / best_seconds(setting, product)


def dense(setting: Setting, size: int, dtype: torch.dtype) -> Callable[[], object]:
    a, b = (torch.randn(size, size, device=setting.device).to(dtype) for _ in range(2))
    return lambda: a @ b.t()


def int8_square(setting: Setting, size: int) -> Callable[[], object]:
    a, b = (torch.randint(-127, 128, (size, size), dtype=torch.int8, device=setting.device) for _ in range(2))
    return lambda: torch._int_mm(a, b.t())


def fp8_square(setting: Setting, size: int) -> Callable[[], object]:
    a, b = (torch.randn(size, size, device=setting.device).to(E4M3) for _ in range(2))
    ones = torch.ones(size, 1, device=setting.device)
    return lambda: torch._scaled_mm(
        a, b.t(), scale_a=ones, scale_b=ones.t(), out_dtype=torch.bfloat16, use_fast_accum=True
    )


PRODUCTS: dict[str, Callable[[Setting, int], Callable[[], object]]] = {
    "bf16": partial(dense, dtype=torch.bfloat16),
    "fp16": partial(dense, dtype=torch.float16),
    "fp32": partial(dense, dtype=torch.float32),
    "int8 (torch._int_mm)": int8_square,
    "fp8 (torch._scaled_mm)": fp8_square,
}


def copy(setting: Setting) -> Figures:
    source = torch.empty(2**30 if setting.on_card else 2**16, dtype=torch.uint8, device=setting.device)
    into = torch.empty_like(source)
    return {"GB/s read and written": 2 * source.nbytes / best_seconds(setting, lambda: into.copy_(source)) / 1e9}


def matrix(setting: Setting, name: str) -> Figures:
    """A product as a layer makes it: rows in bf16, quantised on the way where the format does that."""
    weight, x = operands(setting)
    dtype, form = torch.float32 if name == "fp32" else torch.bfloat16, FORMATS[name]
    packed = form.pack(weight.float().cpu().numpy(), native_kernels(1))
    tensors = {part: as_tensor(array).to(weight.device) for part, array in packed.items()}
    linear = card_linear(name, tensors, None, MatrixShape(*weight.shape), TensorRegion())
    rows = x.to(torch.float16 if name == "fp16" else dtype)
    return product_figures(setting, weight, lambda: linear(rows), x)


def int8_by_torch(setting: Setting) -> Figures:
    """Rows quantised as always, the product by torch._int_mm and its sums scaled after it."""
    weight, x = operands(setting)
    rows, row_scales = quantise(x.bfloat16(), torch.int8, rotates=False)
    quantised, scales = quantise(weight, torch.int8, rotates=False)
    return product_figures(
        setting,
        weight,
        lambda: int8.product_by_torch(rows, row_scales, quantised, scales, None, torch.bfloat16),
        x,
    )


def operands(setting: Setting) -> tuple[torch.Tensor, torch.Tensor]:
    out_features, in_features, num_rows = (OUT_FEATURES, IN_FEATURES, NUM_ROWS) if setting.on_card else SMALL
    generator = torch.Generator(setting.device).manual_seed(0)
    weight = torch.randn(out_features, in_features, device=setting.device, generator=generator) * in_features**-0.5
    return weight, torch.randn(num_rows, in_features, device=setting.device, generator=generator)


def product_figures(
    setting: Setting, weight: torch.Tensor, product: Callable[[], torch.Tensor], x: torch.Tensor
) -> Figures:
    wanted = x @ weight.t()
    error = float((product().float() - wanted).norm() / wanted.norm())
    seconds = best_seconds(setting, product)
    return {"ms": 1e3 * seconds, "TFLOP/s": 2 * x.shape[0] * weight.numel() / seconds / 1e12, "relative error": error}
