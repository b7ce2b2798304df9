from __future__ import annotations

import numpy as np
import pytest
from numpy_kernels import NUMPY_KERNELS

from farthing.core.arrays import BF16, Array, to_bf16, to_float32
from farthing.quant.dense import as_dtype
from farthing.quant.format import MatrixShape, Region
from farthing.quant.formats import FORMATS
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native_matrix import StoredMatrix, UnpackedMatrix

OUT, IN = 48, 80
DTYPES = {"fp32": np.dtype(np.float32), "bf16": BF16, "fp16": np.dtype(np.float16)}
EVERY_FORMAT = pytest.mark.parametrize("name", DTYPES)


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


@EVERY_FORMAT
@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("has_bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("stays", [False, True], ids=["streamed", "stays"])
def test_only_the_weight_is_rounded(name: str, rows: int, has_bias: bool, stays: bool, kernels: NativeKernels) -> None:
    weight, bias, x = random(OUT, IN) * IN**-0.5, random(OUT) if has_bias else None, 1e6 * random(rows, IN)
    form = FORMATS[name]
    matrix = form.bind(form.pack(weight, kernels), bias, MatrixShape(OUT, IN), Region(), kernels, stays=stays)
    y = matrix(x)
    assert (y.shape, y.dtype, matrix.form) == ((rows, OUT), np.float32, name)
    rounded = to_float32(as_dtype(weight, DTYPES[name])).astype(np.float64)
    np.testing.assert_allclose(y, x.astype(np.float64) @ rounded.T + (0 if bias is None else bias), rtol=2e-6, atol=4)


@EVERY_FORMAT
@pytest.mark.parametrize("stored", DTYPES)
def test_packing_rounds_to_the_format_whatever_was_stored(name: str, stored: str) -> None:
    weight = as_dtype(random(OUT, IN), DTYPES[stored])
    packed = FORMATS[name].pack(weight, NUMPY_KERNELS)
    assert {key: array.dtype for key, array in packed.items()} == {"weight": DTYPES[name]}
    if name == stored:
        assert packed["weight"] is weight
    else:
        want = to_float32(weight)
        step = {"fp32": 0, "bf16": 2**-8, "fp16": 2**-11}[name]
        np.testing.assert_allclose(to_float32(packed["weight"]), want, rtol=step, atol=1e-7)


@EVERY_FORMAT
def test_the_bytes_are_foretold(name: str) -> None:
    packed = FORMATS[name].pack(random(OUT, IN), NUMPY_KERNELS)
    assert FORMATS[name].num_bytes(OUT, IN) == sum(array.nbytes for array in packed.values())


def test_numbers_beyond_fp16_become_inf_and_ties_go_to_even() -> None:
    values = np.array([[65504.0, 65536.0, -1e30, np.nan, 1 + 2**-11, 1 + 3 * 2**-11]], np.float32)
    assert as_dtype(values, DTYPES["fp16"])[0].tolist() == pytest.approx(
        [65504.0, np.inf, -np.inf, np.nan, 1.0, 1 + 2**-9], nan_ok=True
    )
    assert as_dtype(to_bf16(values), DTYPES["fp16"]).dtype == np.float16


def test_a_matrix_that_stays_is_laid_out_once_and_one_that_does_not_at_each_call(kernels: NativeKernels) -> None:
    form, region, shape = FORMATS["bf16"], Region(), MatrixShape(OUT, IN)
    weights = [form.pack(random(OUT, IN), kernels), form.pack(random(OUT, IN) + 1, kernels)]
    kept = [form.bind(weight, None, shape, region, kernels) for weight in weights]
    assert all(isinstance(matrix, StoredMatrix) and matrix.keeps_block for matrix in kept)
    assert kept[0].block() is kept[0].block()
    streamed = [form.bind(weight, None, shape, region, kernels, stays=False) for weight in weights]
    assert all(isinstance(matrix, UnpackedMatrix) and not matrix.keeps_block for matrix in streamed)
    for matrix, same in zip(streamed, kept, strict=True):
        assert np.array_equal(matrix.block(), same.block())
    assert streamed[0].block().ctypes.data == streamed[1].block().ctypes.data
