"""The packed form written by torch is the native one, byte for byte."""

from __future__ import annotations

import pytest
import torch

from farthing.quant.int8_packed import ALIGNMENT, pack, packed_bytes, quantise_rows, unpack
from farthing.quant.native.team import native_kernels

SHAPES = [(1, 1), (5, 7), (32, 64), (40, 65), (64, 192), (33, 513), (256, 1024)]


def random(shape: tuple[int, int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    weight[0] = 0
    return weight.to(dtype)


@pytest.mark.skipif(native_kernels() is None, reason="the native kernels were not built (no C++ compiler)")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bytes_are_the_native_ones(shape: tuple[int, int], dtype: torch.dtype) -> None:
    kernels = native_kernels()
    assert kernels is not None
    weight = random(shape, dtype)
    assert packed_bytes(*shape) == kernels.packed_bytes(*shape)
    assert torch.equal(pack(weight), kernels.pack(weight))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_packed_is_unpacked(shape: tuple[int, int]) -> None:
    weight = random(shape)
    block = pack(weight)
    assert block.numel() == packed_bytes(*shape)
    assert block.numel() % ALIGNMENT == 0
    for got, want in zip(unpack(block, *shape), quantise_rows(weight), strict=True):
        assert torch.equal(got, want)


def test_rows_are_quantised_to_nearest_with_the_largest_at_127() -> None:
    quantised, scale = quantise_rows(torch.tensor([[-2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert quantised.tolist() == [[-127, 64, 0], [0, 0, 0]]
    assert scale[:, 0].tolist() == [pytest.approx(2 / 127), 0.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_row_with_nan_or_inf_keeps_it_in_its_scale(value: float) -> None:
    _, scale = quantise_rows(torch.tensor([[1.0, value], [1.0, 2.0]]))
    assert torch.isfinite(scale[:, 0]).tolist() == [False, True]
