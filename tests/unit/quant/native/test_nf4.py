"""The kernels' NF4 blocks are numpy's, byte for byte; unpacked they are the int8 block of the rounded values."""

from __future__ import annotations

import numpy as np
import pytest

from farthing.core.arrays import aligned_empty, aligned_zeros, to_bf16
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


def random_weight(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def int8_of(block: np.ndarray, n: int, k: int) -> np.ndarray:
    words, scales, half_steps = views(block, n, k)
    codes, counts = unpack_codes(words), half_steps.swapaxes(1, 2).reshape(n, -1)
    levels = np.array(LEVELS, np.float32)[codes].reshape(*counts.shape, 64)
    values = np.rint(levels * (counts.astype(np.float32) / 2)[:, :, None]).astype(np.int8)
    return lay_out(values.reshape(n, -1), scales.reshape(-1, 1))


def unpacked(kernels: NativeKernels, block: np.ndarray, n: int, k: int) -> np.ndarray:
    out = aligned_empty(kernels.packed_bytes("int8", n, k))
    out.fill(85)  # every byte must be written
    kernels.unpack_nf4(block, n, k, out)
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("candidates", [SCALE_CANDIDATES, (1.0,)])
def test_a_matrix_is_packed_to_the_bytes_that_numpy_makes(
    kernels: NativeKernels, shape: tuple[int, int], dtype: str, candidates: tuple[float, ...]
) -> None:
    weight = random_weight(shape)
    weight[0] = 0
    weight[-1, : shape[1] // 2] *= 1e-3
    weight = weight if dtype == "fp32" else to_bf16(weight)
    block = aligned_zeros(packed_bytes(*shape))
    kernels.pack_nf4(weight, candidates, block)
    np.testing.assert_array_equal(block, pack(weight, candidates))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_with_nan_or_inf_is_packed_with_a_scale_that_is_not_finite(kernels: NativeKernels, value: float) -> None:
    weight = random_weight((40, 130))
    weight[5, 129] = value
    block = aligned_zeros(packed_bytes(40, 130))
    kernels.pack_nf4(weight, SCALE_CANDIDATES, block)
    scales = views(block, 40, 130)[1].ravel()
    assert np.flatnonzero(~np.isfinite(scales)).tolist() == [5]
    out = np.zeros((40, 130), np.float32)
    unpack(block, out)
    assert not np.isfinite(out[5]).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bytes_are_those_of_the_rounded_values(kernels: NativeKernels, shape: tuple[int, int]) -> None:
    weight = random_weight(shape)
    weight[0] = 0
    block = pack(weight)
    n, k, _ = padded(*shape)
    np.testing.assert_array_equal(unpacked(kernels, block, *shape), int8_of(block, n, k))


def test_every_code_with_every_count_of_half_steps_is_rounded_alike(kernels: NativeKernels) -> None:
    """Each of the 255 counts has a block of 64 inputs, in which every code occurs."""
    n, k = 32, 64 * (MAX_HALF_STEPS + 1)
    block = aligned_zeros(packed_bytes(n, k))
    words, scales, half_steps = views(block, n, k)
    low = np.arange(k // 2) * 2 % 16
    words[:] = (low | low + 1 << 4).astype(np.uint8).reshape(1, k // 8, 1, 4)
    scales.fill(0.5)
    half_steps[:] = np.arange(MAX_HALF_STEPS + 1).reshape(1, -1, 1)
    np.testing.assert_array_equal(unpacked(kernels, block, n, k), int8_of(block, n, k))


def test_a_channel_without_a_finite_scale_keeps_it(kernels: NativeKernels) -> None:
    weight = random_weight((40, 64))
    weight[5, 3] = np.nan
    scales = unpacked(kernels, pack(weight), 40, 64)[-64 * 4 :].view(np.float32)
    assert np.flatnonzero(np.isnan(scales)).tolist() == [5]
