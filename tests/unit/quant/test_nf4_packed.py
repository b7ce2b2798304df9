"""The NF4 block in numpy: what it loses, how long it is, and what it does with the values that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from farthing.core.arrays import Array, to_bf16
from farthing.quant import nf4_packed
from farthing.quant.int8_packed import ALIGNMENT
from farthing.quant.nf4_packed import LEVELS, pack, packed_bytes, unpack

SHAPES = [(1, 1), (5, 7), (32, 64), (40, 65), (64, 192), (33, 513), (256, 1024)]


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def restored(weight: Array, block: Array) -> Array:
    out = np.full(weight.shape, np.nan, np.float32)
    unpack(block, out)
    return out


def error(weight: Array, block: Array) -> float:
    return float(np.linalg.norm(restored(weight, block) - weight) / np.linalg.norm(weight))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_length_is_foretold_and_aligned(shape: tuple[int, int]) -> None:
    block = pack(random(*shape))
    assert block.dtype == np.uint8
    assert block.size == packed_bytes(*shape)
    assert block.size % ALIGNMENT == block.ctypes.data % ALIGNMENT == 0


def test_the_bytes_never_change_because_folders_hold_them(digest: Callable[[Any], str]) -> None:
    weight = random(40, 130)
    assert digest(pack(weight)) == "1af9a4c5042c3ff0"
    assert digest(pack(to_bf16(weight))) == "d1b9f5599a259952"


def test_a_weight_takes_four_bits_and_its_share_of_the_scales() -> None:
    assert packed_bytes(4096, 1024) == 4096 * 1024 * (4 + 8 / 64 + 32 / 1024) / 8


@pytest.mark.parametrize(("name", "of_bitsandbytes"), [("normal", 0.09187), ("Student's t", 0.10542)])
def test_the_error_is_that_of_bitsandbytes_and_less_with_the_search(name: str, of_bitsandbytes: float) -> None:
    """Its errors are from benchmarks/nf4_weight_error.py with bitsandbytes 0.50.2: 4 bits, double quantisation."""
    rng, shape = np.random.default_rng(0), (256, 1024)
    drawn = {"normal": rng.standard_normal(shape, dtype=np.float32), "Student's t": rng.standard_t(5, shape)}
    weight = drawn[name].astype(np.float32)
    assert error(weight, pack(weight, candidates=(1.0,))) == pytest.approx(of_bitsandbytes, rel=0.01)
    assert error(weight, pack(weight)) < 0.96 * of_bitsandbytes


def test_a_block_of_levels_comes_back_exactly() -> None:
    weight = np.tile(np.array(LEVELS, np.float32), (3, 4)) * np.array([[1.0], [0.5], [127.0]], np.float32)
    np.testing.assert_allclose(restored(weight, pack(weight)), weight, atol=0, rtol=1e-6)


def test_small_blocks_beside_a_large_one_have_scales_of_their_own() -> None:
    weight = random(32, 256)
    weight[:, :64] *= 10
    block = pack(weight)
    for first in range(0, 256, 64):
        part = weight[:, first : first + 64]
        left = restored(weight, block)[:, first : first + 64] - part
        assert float(np.linalg.norm(left) / np.linalg.norm(part)) < 0.095


@pytest.mark.parametrize("shape", [(40, 65), (256, 1024)])
def test_the_bytes_do_not_depend_on_how_much_is_converted_at_a_time(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = random(*shape)
    block = pack(weight)
    monkeypatch.setattr(nf4_packed, "STEP_VALUES", 1)
    assert np.array_equal(pack(weight), block)
    assert np.array_equal(restored(weight, block), restored(weight, pack(weight)))


def test_zeros_come_back_as_zeros() -> None:
    weight = random(40, 192)
    weight[3] = 0
    weight[5, 64:128] = 0
    got = restored(weight, pack(weight))
    assert not got[3].any()
    assert not got[5, 64:128].any()
    assert not restored(np.zeros((2, 64), np.float32), pack(np.zeros((2, 64), np.float32))).any()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_channel_with_nan_or_inf_has_no_finite_value_and_harms_no_other(value: float) -> None:
    weight = random(40, 128)
    whole = restored(weight, pack(weight))
    weight[7, 100] = value
    got = restored(weight, pack(weight))
    assert not np.isfinite(got[7]).any()
    assert np.array_equal(got[:7], whole[:7])
    assert np.array_equal(got[8:], whole[8:])
