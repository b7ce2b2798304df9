from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from farthing.core.arrays import Array, to_bf16
from farthing.quant.format import MatrixShape, Region
from farthing.quant.formats import weight_format
from farthing.quant.native.binding import NativeKernels
from farthing.quant.rotation import can_rotate, hadamard, rotate


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def test_the_matrix_is_orthonormal_and_symmetric() -> None:
    matrix = hadamard()
    assert np.array_equal(matrix @ matrix, np.eye(64))
    assert np.array_equal(matrix, matrix.T)


def test_the_matrix_never_changes_because_folders_rely_on_it(digest: Callable[[Any], str]) -> None:
    assert digest(hadamard()) == "6a8bf9b9bc291de7"


@pytest.mark.parametrize("width", [64, 384, 1024])
def test_a_rotated_product_is_the_same_product(width: int) -> None:
    x, weight = random(9, width), random(5, width)
    np.testing.assert_allclose(rotate(x) @ rotate(weight).T, x @ weight.T, atol=1e-4, rtol=1e-4)


def test_rows_are_left_as_they_are_and_16_bits_become_fp32() -> None:
    rows = random(3, 128)
    before = rows.copy()
    rotated = rotate(rows)
    assert np.array_equal(rows, before)
    assert rotate(to_bf16(rows)).dtype == rotate(rows.astype(np.float16)).dtype == rotated.dtype == np.float32
    np.testing.assert_allclose(rotate(rotated), rows, atol=1e-6)


def test_an_outlier_channel_costs_int8_little_once_rotated(kernels: NativeKernels) -> None:
    x, weight = random(64, 128), random(32, 128)
    x[:, 5] += 50
    want, int8 = x @ weight.T, weight_format("int8")

    def error(rows: Array, stored: Array) -> float:
        matrix = int8.bind(int8.pack(stored, kernels), None, MatrixShape(32, 128), Region(), kernels)
        return float(np.linalg.norm(matrix(rows) - want) / np.linalg.norm(want))

    plain, rotated = error(x, weight), error(rotate(x), rotate(weight))
    assert rotated < 0.01
    assert rotated < plain / 2


def test_widths_that_are_no_multiple_of_64_are_not_rotated() -> None:
    assert [width for width in (32, 48, 64, 312, 384) if can_rotate(width)] == [64, 384]
