from __future__ import annotations

import numpy as np
import pytest

from farthing.core.arrays import Array, to_bf16
from farthing.quant.format import MatrixShape, Region
from farthing.quant.native.binding import NativeKernels
from farthing.quant.nf4 import Nf4Format
from farthing.quant.nf4_packed import pack, unpack

FORM = Nf4Format()


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def restored(weight: Array) -> Array:
    out = np.empty(weight.shape, np.float32)
    unpack(pack(weight), out)
    return out


def test_bytes_are_those_that_are_stored(kernels: NativeKernels) -> None:
    packed = FORM.pack(random(64, 128), kernels)
    assert list(packed) == ["packed"]
    assert FORM.num_bytes(64, 128) == packed["packed"].nbytes
    assert packed["packed"].ctypes.data % 64 == 0


@pytest.mark.parametrize("convert", [np.asarray, to_bf16, np.float16])
def test_the_kernels_pack_as_numpy_does(convert: type[np.float16], built_kernels: NativeKernels) -> None:
    weight = convert(random(40, 130))
    assert np.array_equal(FORM.pack(weight, built_kernels)["packed"], pack(weight))


@pytest.mark.parametrize("bias", [True, False])
def test_products_differ_by_the_rounding_to_int8_alone(bias: bool, kernels: NativeKernels) -> None:
    weight, x, offset = random(64, 192), random(300, 192), random(64) if bias else None
    matrix = FORM.bind(FORM.pack(weight, kernels), offset, MatrixShape(64, 192), Region(), kernels)
    assert (matrix.form, matrix.keeps_block) == ("int8", False)
    want = x @ restored(weight).T + (0 if offset is None else offset)
    error = float(np.linalg.norm(matrix(x) - want) / np.linalg.norm(want))
    assert 1e-3 < error < 0.015


def test_layers_that_share_a_region_take_turns_in_it(kernels: NativeKernels) -> None:
    x, region, shape = random(9, 192), Region(), MatrixShape(64, 192)
    weights = [random(64, 192), random(64, 192) + 1]
    layers = [FORM.bind(FORM.pack(weight, kernels), None, shape, region, kernels) for weight in weights]
    first, second, again = layers[0](x), layers[1](x), layers[0](x)
    assert np.array_equal(first, again)
    assert not np.allclose(first, second)
    alone = [FORM.bind(FORM.pack(weight, kernels), None, shape, Region(), kernels)(x) for weight in weights]
    assert np.array_equal(first, alone[0])
    assert np.array_equal(second, alone[1])


def test_a_region_grows_to_the_largest_that_was_asked_for_and_is_one_memory() -> None:
    region = Region()
    large = region.take(1024)
    small = region.take(100)
    assert (small.dtype, small.nbytes) == (np.uint8, 100)
    assert small.ctypes.data == large.ctypes.data
    assert large.ctypes.data % 64 == 0
    assert region.take(2048).nbytes == 2048
