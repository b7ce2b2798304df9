"""The packed form written by numpy is the native one, byte for byte, and what it was when torch wrote it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from farthing.core.arrays import Array, to_bf16
from farthing.quant.int8_packed import ALIGNMENT, pack, packed_bytes, quantise_rows, unpack
from farthing.quant.native.binding import NativeKernels

SHAPES = [(1, 1), (5, 7), (32, 64), (40, 65), (64, 192), (33, 513), (256, 1024)]


def random(shape: tuple[int, int]) -> Array:
    weight = np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)
    weight[0] = 0
    return weight


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("convert", [np.asarray, to_bf16, np.float16])
def test_the_bytes_are_the_native_ones(
    shape: tuple[int, int], convert: type[np.float16], built_kernels: NativeKernels
) -> None:
    weight = convert(random(shape))
    assert packed_bytes(*shape) == built_kernels.packed_bytes("int8", *shape)
    assert np.array_equal(pack(weight), built_kernels.pack("int8", weight))


def test_the_bytes_never_change_because_folders_hold_them(digest: Callable[[Any], str]) -> None:
    weight = random((40, 130))
    assert digest(pack(weight)) == "b2c43ec7fa30883e"
    assert digest(pack(to_bf16(weight))) == "1e41542c597d0d47"


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_packed_is_unpacked(shape: tuple[int, int]) -> None:
    weight = random(shape)
    block = pack(weight)
    assert block.size == packed_bytes(*shape)
    assert block.size % ALIGNMENT == block.ctypes.data % ALIGNMENT == 0
    for got, want in zip(unpack(block, *shape), quantise_rows(weight), strict=True):
        assert np.array_equal(got, want)


def test_rows_are_quantised_to_nearest_with_the_largest_at_127() -> None:
    quantised, scale = quantise_rows(np.array([[-2.0, 1.0, 0.0], [0.0, 0.0, 0.0]], np.float32))
    assert quantised.tolist() == [[-127, 64, 0], [0, 0, 0]]
    assert scale[:, 0].tolist() == [pytest.approx(2 / 127), 0.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_row_with_nan_or_inf_keeps_it_in_its_scale(value: float) -> None:
    quantised, scale = quantise_rows(np.array([[1.0, value], [1.0, 2.0]], np.float32))
    assert np.isfinite(scale[:, 0]).tolist() == [False, True]
    assert quantised.tolist() == [[0, 0], [64, 127]]


def test_a_row_too_small_to_have_an_inverse_becomes_zeros() -> None:
    quantised, _ = quantise_rows(np.array([[1e-40, -1e-41]], np.float32))
    assert quantised.tolist() == [[0, 0]]
