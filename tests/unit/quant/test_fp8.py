from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy_kernels import NUMPY_KERNELS

from farthing.core.arrays import Array, to_bf16
from farthing.quant.format import MatrixShape, Region
from farthing.quant.fp8 import Fp8Format, unpack
from farthing.quant.native.binding import NativeKernels


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def restored(weight: Array) -> Array:
    out = np.empty(weight.shape, np.float32)
    unpack(Fp8Format().pack(weight, NUMPY_KERNELS)["packed"], out)
    return out


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (33, 513), (64, 128)])
def test_bytes_are_those_that_are_stored(shape: tuple[int, int]) -> None:
    packed = Fp8Format().pack(random(*shape), NUMPY_KERNELS)
    assert list(packed) == ["packed"]
    assert packed["packed"].size == Fp8Format().num_bytes(*shape)
    assert packed["packed"].size % 64 == packed["packed"].ctypes.data % 64 == 0


def test_the_bytes_never_change_because_folders_hold_them(digest: Callable[[Any], str]) -> None:
    weight = random(40, 130)
    assert digest(Fp8Format().pack(weight, NUMPY_KERNELS)["packed"]) == "d6830fba53997863"
    assert digest(Fp8Format().pack(to_bf16(weight), NUMPY_KERNELS)["packed"]) == "f355afd32dd22efb"


def test_a_channels_largest_value_is_exact_and_none_is_off_by_more_than_a_sixteenth() -> None:
    weight = random(48, 200) * np.logspace(-6, 6, 48, dtype=np.float32)[:, None]  # each channel of another size
    got = restored(weight)
    largest = np.abs(weight).argmax(1)[:, None]
    np.testing.assert_allclose(np.take_along_axis(got, largest, 1), np.take_along_axis(weight, largest, 1), rtol=1.3e-6)
    # Three bits behind the point; below 2^-6 of 448 steps are of one size.
    bound = np.abs(weight) / 16 + np.abs(weight).max(1, keepdims=True) / 448 * 2**-10
    assert (np.abs(got - weight) <= bound).all()


def test_zeros_stay_zeros_and_nan_and_inf_stay_in_their_channel() -> None:
    weight = random(4, 64)
    weight[0] = 0
    weight[1, 5], weight[2, 5] = np.nan, np.inf
    got = restored(weight)
    assert not got[0].any()
    assert np.isfinite(got).all(1).tolist() == [True, False, False, True]
    assert not np.isfinite(got[1]).any()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(48, 96), (33, 50)])
def test_a_product_is_that_of_the_restored_weight(bias: bool, size: tuple[int, int], kernels: NativeKernels) -> None:
    weight, x, offset = random(*size), random(7, size[1]), random(size[0]) if bias else None
    form = Fp8Format()
    matrix = form.bind(form.pack(weight, kernels), offset, MatrixShape(*size), Region(), kernels)
    assert (matrix.form, matrix.keeps_block) == ("fp32", False)
    assert np.array_equal(matrix.block(), kernels.pack("fp32", restored(weight)))
    want = x.astype(np.float64) @ restored(weight).T + (0 if offset is None else offset)
    np.testing.assert_allclose(matrix(x), want, rtol=1e-5, atol=1e-4)
