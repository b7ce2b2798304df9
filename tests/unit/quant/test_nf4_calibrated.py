"""NF4 that goes by the inputs: what is nearest where they say nothing, and a smaller error of the products else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from farthing.core.arrays import Array, to_bf16, to_float32
from farthing.quant.gptq import DAMPING, inverse_factor, invert_upper
from farthing.quant.nf4_calibrated import pack_calibrated
from farthing.quant.nf4_packed import pack, unpack

SHAPES = [(1, 1), (5, 7), (32, 64), (40, 65), (64, 192), (33, 513)]


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def correlated(tokens: int, width: int, seed: int) -> Array:
    """Rows [tokens, width] whose inputs go together, of which a few dwarf the others."""
    mixing = random(width // 4, width, seed=seed + 1) + np.float32(0.1)
    rows: Array = random(tokens, width // 4, seed=seed) @ mixing
    rows += np.float32(0.3) * random(tokens, width, seed=seed + 2)
    rows[:, ::37] *= 10
    return rows


def restored(weight: Array, block: Array) -> Array:
    out = np.full(weight.shape, np.nan, np.float32)
    unpack(block, out)
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("inputs", ["alike", "of different size", "none"])
def test_it_is_rounding_to_nearest_where_inputs_have_nothing_to_do_with_each_other(
    shape: tuple[int, int], inputs: str
) -> None:
    weight = random(*shape)
    sizes = {"alike": np.full(shape[1], 3, np.float32), "of different size": np.exp(random(shape[1]))}
    hessian = np.diag(sizes.get(inputs, np.zeros(shape[1], np.float32)))
    assert np.array_equal(pack_calibrated(weight, hessian), pack(weight))


@pytest.mark.parametrize("convert", [np.asarray, to_bf16])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [64, 192])  # within a block, and from block to block
@pytest.mark.parametrize("tokens", [50, 1000])  # fewer than there are inputs, and more
def test_products_with_such_inputs_lose_less_than_by_rounding_to_nearest(
    seed: int, tokens: int, width: int, convert: Callable[[Array], Array]
) -> None:
    weight, rows = convert(random(48, width, seed=seed)), correlated(tokens, width, seed)
    exact = rows @ to_float32(weight).T
    calibrated, nearest = (
        np.square(rows @ restored(weight, block).T - exact).sum()
        for block in (pack_calibrated(weight, rows.T @ rows), pack(weight))
    )
    assert calibrated < 0.7 * nearest


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_channel_that_is_no_number_harms_no_other(value: float) -> None:
    rows, weight = correlated(500, 128, 0), random(40, 128)
    hessian = rows.T @ rows
    sound = restored(weight, pack_calibrated(weight, hessian))
    weight[7, 3] = value
    found = restored(weight, pack_calibrated(weight, hessian))
    assert not np.isfinite(found[7]).all()
    others = np.arange(40) != 7
    assert np.array_equal(found[others], sound[others])


def test_the_factor_is_that_of_the_damped_inverse() -> None:
    rows = correlated(300, 64, 0)
    hessian = rows.T @ rows
    factor = inverse_factor(hessian)
    assert factor.dtype == np.float32
    assert np.array_equal(factor, np.triu(factor))
    damped = hessian + DAMPING * hessian.diagonal().mean() * np.eye(64, dtype=np.float32)
    np.testing.assert_allclose(factor.T @ factor @ damped, np.eye(64), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [1, 64, 65, 200])
def test_a_triangular_matrix_is_inverted_in_place(size: int) -> None:
    matrix = np.triu(random(size, size).astype(np.float64)) + 10 * np.eye(size)
    inverse = matrix.copy()
    invert_upper(inverse)
    assert np.array_equal(inverse, np.triu(inverse))
    np.testing.assert_allclose(inverse @ matrix, np.eye(size), atol=1e-12)


def test_nearly_all_codes_are_those_that_torch_chose() -> None:
    """The mean of the values' squares, as torch's code of version 0.1 left it; single codes may differ at ties."""
    rows, weight = correlated(500, 192, 0), random(48, 192)
    block = pack_calibrated(weight, rows.T @ rows)
    assert float(np.square(restored(weight, block)).mean()) == pytest.approx(0.989474, rel=1e-3)
