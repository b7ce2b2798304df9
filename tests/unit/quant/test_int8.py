from __future__ import annotations

import numpy as np
import pytest

from farthing.core.arrays import Array, to_bf16
from farthing.quant.format import MatrixShape, Region
from farthing.quant.int8 import Int8Format
from farthing.quant.int8_packed import pack, quantise_rows
from farthing.quant.native.binding import NativeKernels


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("num_tokens", [1, 15, 300])
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_the_exact_one_of_quantised_rows_and_weights(
    num_tokens: int, bias: bool, kernels: NativeKernels
) -> None:
    x, weight, offset = random(num_tokens, 192), random(64, 192), random(64) if bias else None
    form = Int8Format()
    packed = form.pack(weight, kernels)
    matrix = form.bind(packed, offset, MatrixShape(64, 192), Region(), kernels)
    assert matrix.block() is packed["packed"]
    assert (matrix.form, matrix.keeps_block) == ("int8", True)
    (qx, sx), (qw, sw) = quantise_rows(x), quantise_rows(weight)
    exact = (qx.astype(float) @ qw.astype(float).T) * sx * sw.T + (0 if offset is None else offset)
    assert float(np.linalg.norm(matrix(x) - exact) / np.linalg.norm(exact)) < 2e-4


def test_bytes_are_those_that_are_stored(kernels: NativeKernels) -> None:
    form = Int8Format()
    packed = form.pack(random(64, 128), kernels)
    assert list(packed) == ["packed"]
    assert form.num_bytes(64, 128) == packed["packed"].nbytes
    assert packed["packed"].ctypes.data % 64 == 0


@pytest.mark.parametrize("convert", [np.asarray, to_bf16, np.float16])
def test_the_kernels_pack_as_numpy_does(convert: type[np.float16], built_kernels: NativeKernels) -> None:
    weight = convert(random(40, 100))
    assert np.array_equal(Int8Format().pack(weight, built_kernels)["packed"], pack(weight))
