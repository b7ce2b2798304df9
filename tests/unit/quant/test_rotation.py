from __future__ import annotations

import pytest
import torch

from farthing.quant.dense import DenseLinear
from farthing.quant.format import MatrixShape, Region
from farthing.quant.formats import weight_format
from farthing.quant.rotation import RotatedLinear, can_rotate, hadamard, rotate


def test_the_matrix_is_orthonormal_and_symmetric() -> None:
    matrix = hadamard()
    torch.testing.assert_close(matrix @ matrix, torch.eye(64), atol=0, rtol=0)
    assert torch.equal(matrix, matrix.T)


@pytest.mark.parametrize("width", [64, 384, 1024])
def test_a_rotated_product_is_the_same_product(width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, width, generator=generator, dtype=torch.float32) for n in (9, 5))
    rotated = RotatedLinear(DenseLinear(rotate(weight), None))
    torch.testing.assert_close(rotated(x), x @ weight.T, atol=1e-4, rtol=1e-4)


def test_an_outlier_channel_costs_int8_little_once_rotated() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, 128, generator=generator) for n in (64, 32))
    x[:, 5] += 50
    want, int8 = x @ weight.T, weight_format("int8")

    def error(y: torch.Tensor) -> float:
        return float((y - want).norm() / want.norm())

    shape = MatrixShape(*weight.shape)
    plain = error(int8.linear(int8.pack(weight), None, shape, Region())(x))
    rotated = error(RotatedLinear(int8.linear(int8.pack(rotate(weight)), None, shape, Region()))(x))
    assert rotated < 0.01
    assert rotated < plain / 2


def test_widths_that_are_no_multiple_of_64_are_not_rotated() -> None:
    assert [width for width in (32, 48, 64, 312, 384) if can_rotate(width)] == [64, 384]
