"""The NF4 block in torch: what it loses, how long it is, and what it does with the values that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from farthing.quant import nf4_packed
from farthing.quant.int8_packed import ALIGNMENT
from farthing.quant.nf4_packed import LEVELS, pack, packed_bytes, unpack

SHAPES = [(1, 1), (5, 7), (32, 64), (40, 65), (64, 192), (33, 513), (256, 1024)]


def random(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32))


def restored(weight: torch.Tensor, block: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    out = torch.full(weight.shape, torch.nan, dtype=dtype)
    unpack(block, out)
    return out


def error(weight: torch.Tensor, block: torch.Tensor) -> float:
    return float((restored(weight, block) - weight).norm() / weight.norm())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_length_is_foretold_and_aligned(shape: tuple[int, int]) -> None:
    block = pack(random(*shape))
    assert block.dtype is torch.uint8
    assert block.numel() == packed_bytes(*shape)
    assert block.numel() % ALIGNMENT == 0


def test_a_weight_takes_four_bits_and_its_share_of_the_scales() -> None:
    assert packed_bytes(4096, 1024) == 4096 * 1024 * (4 + 8 / 64 + 32 / 1024) / 8


@pytest.mark.parametrize(("name", "of_bitsandbytes"), [("normal", 0.09187), ("Student's t", 0.10542)])
def test_the_error_is_that_of_bitsandbytes_and_less_with_the_search(name: str, of_bitsandbytes: float) -> None:
    """Its errors are from benchmarks/nf4_weight_error.py with bitsandbytes 0.50.2: 4 bits, double quantisation."""
    rng, shape = np.random.default_rng(0), (256, 1024)
    drawn = {"normal": rng.standard_normal(shape, dtype=np.float32), "Student's t": rng.standard_t(5, shape)}
    weight = torch.from_numpy(drawn[name].astype(np.float32))
    assert error(weight, pack(weight, candidates=(1.0,))) == pytest.approx(of_bitsandbytes, rel=0.01)
    assert error(weight, pack(weight)) < 0.96 * of_bitsandbytes


def test_a_block_of_levels_comes_back_exactly() -> None:
    weight = torch.tensor(LEVELS).repeat(3, 4) * torch.tensor([[1.0], [0.5], [127.0]])
    torch.testing.assert_close(restored(weight, pack(weight)), weight, atol=0, rtol=1e-6)


def test_small_blocks_beside_a_large_one_have_scales_of_their_own() -> None:
    weight = random(32, 256)
    weight[:, :64] *= 10
    block = pack(weight)
    for first in range(0, 256, 64):
        part = weight[:, first : first + 64]
        assert float((restored(weight, block)[:, first : first + 64] - part).norm() / part.norm()) < 0.095


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_is_unpacked_to_the_type_that_is_asked_for(dtype: torch.dtype) -> None:
    weight = random(40, 130)
    block = pack(weight)
    assert torch.equal(restored(weight, block, dtype), restored(weight, block).to(dtype))


@pytest.mark.parametrize("shape", [(40, 65), (256, 1024)])
def test_the_bytes_do_not_depend_on_how_much_is_converted_at_a_time(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = random(*shape)
    block = pack(weight)
    monkeypatch.setattr(nf4_packed, "STEP_VALUES", 1)
    assert torch.equal(pack(weight), block)
    assert torch.equal(restored(weight, block), restored(weight, pack(weight)))


def test_zeros_come_back_as_zeros() -> None:
    weight = random(40, 192)
    weight[3] = 0
    weight[5, 64:128] = 0
    got = restored(weight, pack(weight))
    assert not got[3].any()
    assert not got[5, 64:128].any()
    assert not restored(torch.zeros(2, 64), pack(torch.zeros(2, 64))).any()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_channel_with_nan_or_inf_has_no_finite_value_and_harms_no_other(value: float) -> None:
    weight = random(40, 128)
    whole = restored(weight, pack(weight))
    weight[7, 100] = value
    got = restored(weight, pack(weight))
    assert not torch.isfinite(got[7]).any()
    assert torch.equal(got[:7], whole[:7])
    assert torch.equal(got[8:], whole[8:])
