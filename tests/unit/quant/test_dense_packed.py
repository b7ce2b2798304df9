from __future__ import annotations

import numpy as np
import pytest

from farthing.core.arrays import BF16, to_bf16
from farthing.quant.dense_packed import pack, packed_bytes
from farthing.quant.native.binding import NativeKernels

SHAPES = [(1, 1), (5, 7), (32, 16), (33, 65), (64, 192)]


@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_lie_in_panels_with_zeros_around_them(shape: tuple[int, int]) -> None:
    n, k = shape
    weight = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    block = np.full(packed_bytes(n, k, weight.dtype) // 4, np.nan, np.float32)
    pack(weight, block)
    inputs = -(-k // 16) * 16
    panels = block.reshape(-1, inputs, 32)
    for channel in range(panels.shape[0] * 32):
        row = panels[channel // 32, :, channel % 32]
        assert row[:k].tolist() == (weight[channel].tolist() if channel < n else [0.0] * k)
        assert not row[k:].any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", ["fp32", "bf16", "fp16"])
def test_the_bytes_are_the_native_ones(shape: tuple[int, int], form: str, built_kernels: NativeKernels) -> None:
    weight = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    stored = {"fp32": weight, "bf16": to_bf16(weight), "fp16": weight.astype(np.float16)}[form]
    assert stored.dtype != BF16 or form == "bf16"
    block = np.empty(packed_bytes(*shape, stored.dtype), np.uint8)
    pack(stored, block.view(stored.dtype))
    assert np.array_equal(built_kernels.pack(form, stored), block)  # type: ignore[arg-type]
