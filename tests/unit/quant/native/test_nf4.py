"""The kernels' NF4 blocks are torch's, byte for byte; unpacked they are the int8 block of the rounded values."""

from __future__ import annotations

import pytest
import torch

from farthing.quant.int8_packed import lay_out, padded
from farthing.quant.native.binding import NativeKernels
from farthing.quant.nf4_packed import (
    LEVELS,
    MAX_HALF_STEPS,
    SCALE_CANDIDATES,
    pack,
    packed_bytes,
    unpack,
    unpack_codes,
    views,
)

SHAPES = [(1, 1), (5, 7), (32, 64), (40, 65), (33, 513), (64, 256), (256, 1024)]


def int8_of(block: torch.Tensor, n: int, k: int) -> torch.Tensor:
    words, scales, half_steps = views(block, n, k)
    codes, counts = unpack_codes(words), half_steps.transpose(1, 2).flatten(0, 1)
    levels = torch.tensor(LEVELS)[codes.int()].view(*counts.shape, 64)
    values = (levels * (counts.float() / 2)[:, :, None]).round().to(torch.int8)
    return lay_out(values.flatten(1), scales.reshape(-1, 1))


def unpacked(kernels: NativeKernels, block: torch.Tensor, n: int, k: int) -> torch.Tensor:
    out = torch.full((kernels.packed_bytes(n, k),), 85, dtype=torch.uint8)  # every byte must be written
    kernels.unpack_nf4(block, n, k, out)
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("candidates", [SCALE_CANDIDATES, (1.0,)])
def test_a_matrix_is_packed_to_the_bytes_that_torch_makes(
    kernels: NativeKernels, shape: tuple[int, int], dtype: torch.dtype, candidates: tuple[float, ...]
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    weight[0] = 0
    weight[-1, : shape[1] // 2] *= 1e-3
    weight = weight.to(dtype)
    block = torch.zeros(packed_bytes(*shape), dtype=torch.uint8)
    kernels.pack_nf4(weight, candidates, block)
    assert torch.equal(block, pack(weight, candidates))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_row_with_nan_or_inf_is_packed_with_a_scale_that_is_not_finite(kernels: NativeKernels, value: float) -> None:
    weight = torch.randn(40, 130)
    weight[5, 129] = value
    block = torch.zeros(packed_bytes(40, 130), dtype=torch.uint8)
    kernels.pack_nf4(weight, SCALE_CANDIDATES, block)
    scales = views(block, 40, 130)[1].flatten()
    assert torch.isfinite(scales).logical_not().nonzero().flatten().tolist() == [5]
    out = torch.zeros(40, 130)
    unpack(block, out)
    assert not torch.isfinite(out[5]).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bytes_are_those_of_the_rounded_values(kernels: NativeKernels, shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    weight[0] = 0
    block = pack(weight)
    n, k, _ = padded(*shape)
    assert torch.equal(unpacked(kernels, block, *shape), int8_of(block, n, k))


def test_every_code_with_every_count_of_half_steps_is_rounded_alike(kernels: NativeKernels) -> None:
    """Each of the 255 counts has a block of 64 inputs, in which every code occurs."""
    n, k = 32, 64 * (MAX_HALF_STEPS + 1)
    block = torch.zeros(packed_bytes(n, k), dtype=torch.uint8)
    words, scales, half_steps = views(block, n, k)
    low = torch.arange(k // 2, dtype=torch.int32) * 2 % 16
    words.copy_((low | low + 1 << 4).to(torch.uint8).view(1, k // 8, 1, 4))
    scales.fill_(0.5)
    half_steps.copy_(torch.arange(MAX_HALF_STEPS + 1).view(1, -1, 1))
    assert torch.equal(unpacked(kernels, block, n, k), int8_of(block, n, k))


def test_a_channel_without_a_finite_scale_keeps_it(kernels: NativeKernels) -> None:
    weight = torch.randn(40, 64)
    weight[5, 3] = torch.nan
    scales = unpacked(kernels, pack(weight), 40, 64)[-64 * 4 :].view(torch.float32)
    assert torch.isnan(scales).nonzero().flatten().tolist() == [5]
