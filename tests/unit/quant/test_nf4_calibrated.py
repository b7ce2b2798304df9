"""NF4 that goes by the inputs: what is nearest where they say nothing, and a smaller error of the products else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from farthing.quant.gptq import DAMPING, inverse_factor
from farthing.quant.nf4_calibrated import pack_calibrated
from farthing.quant.nf4_packed import pack, unpack

SHAPES = [(1, 1), (5, 7), (32, 64), (40, 65), (64, 192), (33, 513)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def correlated(tokens: int, width: int, seed: int) -> torch.Tensor:
    """Rows [tokens, width] whose inputs go together, of which a few dwarf the others."""
    mixing = random(width // 4, width, seed=seed + 1) + 0.1
    rows = random(tokens, width // 4, seed=seed) @ mixing + 0.3 * random(tokens, width, seed=seed + 2)
    rows[:, ::37] *= 10
    return rows


def restored(weight: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
    out = torch.full(weight.shape, torch.nan)
    unpack(block, out)
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("inputs", ["alike", "of different size", "none"])
def test_it_is_rounding_to_nearest_where_inputs_have_nothing_to_do_with_each_other(
    shape: tuple[int, int], inputs: str
) -> None:
    weight = random(*shape)
    sizes = {"alike": torch.full((shape[1],), 3.0), "of different size": random(shape[1]).exp()}
    hessian = torch.diag(sizes.get(inputs, torch.zeros(shape[1])))
    assert torch.equal(pack_calibrated(weight, hessian), pack(weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [64, 192])  # within a block, and from block to block
@pytest.mark.parametrize("tokens", [50, 1000])  # fewer than there are inputs, and more
def test_products_with_such_inputs_lose_less_than_by_rounding_to_nearest(
    seed: int, tokens: int, width: int, dtype: torch.dtype
) -> None:
    weight, rows = random(48, width, seed=seed).to(dtype), correlated(tokens, width, seed)
    exact = rows @ weight.float().T
    calibrated, nearest = (
        (rows @ restored(weight, block).T - exact).square().sum()
        for block in (pack_calibrated(weight, rows.T @ rows), pack(weight))
    )
    assert calibrated < 0.7 * nearest


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_channel_that_is_no_number_harms_no_other(value: float) -> None:
    rows, weight = correlated(500, 128, 0), random(40, 128)
    hessian = rows.T @ rows
    sound = restored(weight, pack_calibrated(weight, hessian))
    weight[7, 3] = value
    found = restored(weight, pack_calibrated(weight, hessian))
    assert not found[7].isfinite().all()
    others = torch.arange(40) != 7
    assert torch.equal(found[others], sound[others])


def test_the_factor_is_that_of_the_damped_inverse() -> None:
    rows = correlated(300, 64, 0)
    hessian = rows.T @ rows
    factor = inverse_factor(hessian)
    assert torch.equal(factor, factor.triu())
    damped = hessian + DAMPING * hessian.diagonal().mean() * torch.eye(64)
    torch.testing.assert_close(factor.T @ factor @ damped, torch.eye(64), atol=1e-3, rtol=0)
