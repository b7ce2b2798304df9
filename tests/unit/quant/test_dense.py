from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from farthing.quant.dense import DenseLinear, PrepackedLinear, can_prepack
from farthing.quant.format import Linear, MatrixShape, Region, WeightFormat
from farthing.quant.formats import FORMATS

OUT, IN = 48, 80
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
EVERY_FORMAT = pytest.mark.parametrize("name", DTYPES)
EVERY_ROW_COUNT = pytest.mark.parametrize("rows", [1, 7, 300])
WITH_AND_WITHOUT_BIAS = pytest.mark.parametrize("with_bias", [False, True], ids=["no bias", "bias"])
needs_onednn = pytest.mark.skipif(not can_prepack(), reason="this torch has no oneDNN")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(11)


def matrix() -> torch.Tensor:
    return torch.randn(OUT, IN) * IN**-0.5


def bias_or_none(with_bias: bool) -> torch.Tensor | None:
    return torch.randn(OUT) if with_bias else None


def bind(stored: WeightFormat, weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
    return stored.linear(stored.pack(weight), bias, MatrixShape(*weight.shape), Region())


def exact(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """In fp64."""
    return F.linear(x.double(), weight.double(), None if bias is None else bias.double())


@EVERY_FORMAT
@EVERY_ROW_COUNT
@WITH_AND_WITHOUT_BIAS
def test_a_product_in_the_formats_own_type_is_right_to_its_last_digits(name: str, rows: int, with_bias: bool) -> None:
    weight, bias, dtype = matrix().to(DTYPES[name]), bias_or_none(with_bias), DTYPES[name]
    bias = None if bias is None else bias.to(dtype)
    x = torch.randn(rows, IN).to(dtype)
    y = bind(FORMATS[name], weight, bias)(x)
    assert (y.shape, y.dtype) == ((rows, OUT), dtype)
    # Half precision sums in fp32 and rounds once.
    tolerance = 10 * torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), exact(x, weight, bias), atol=tolerance, rtol=tolerance)


@EVERY_FORMAT
@EVERY_ROW_COUNT
@WITH_AND_WITHOUT_BIAS
def test_fp32_rows_are_computed_in_fp32_whatever_the_format(name: str, rows: int, with_bias: bool) -> None:
    weight, bias = matrix(), bias_or_none(with_bias)
    x = 1e6 * torch.randn(rows, IN)  # beyond what fp16 can hold
    y = bind(FORMATS[name], weight, bias)(x)
    assert y.dtype is torch.float32
    want = exact(x, weight.to(DTYPES[name]), bias)  # only the weight is rounded
    torch.testing.assert_close(y.double(), want, atol=4.0, rtol=2e-6)


@EVERY_FORMAT
def test_a_bias_of_any_float_type_will_do(name: str) -> None:
    weight, x = matrix(), torch.randn(3, IN).to(DTYPES[name])
    bias = torch.full((OUT,), 0.5)
    results = [bind(FORMATS[name], weight, bias.to(dtype))(x) for dtype in DTYPES.values()]
    assert all(torch.equal(result, results[0]) for result in results)


@EVERY_FORMAT
@pytest.mark.parametrize("stored", DTYPES.values(), ids=str)
def test_packing_rounds_to_the_format_whatever_was_stored(name: str, stored: torch.dtype) -> None:
    weight = matrix().to(stored)
    packed = FORMATS[name].pack(weight)
    assert {key: tensor.dtype for key, tensor in packed.items()} == {"weight": DTYPES[name]}
    assert torch.equal(packed["weight"], weight.to(DTYPES[name]))


@EVERY_FORMAT
def test_the_bytes_are_foretold(name: str) -> None:
    packed = FORMATS[name].pack(matrix())
    assert FORMATS[name].num_bytes(OUT, IN) == sum(tensor.nbytes for tensor in packed.values())


@EVERY_FORMAT
def test_the_rows_given_in_are_left_as_they_are(name: str) -> None:
    x = torch.randn(9, IN).to(DTYPES[name])
    before = x.clone()
    bind(FORMATS[name], matrix(), torch.ones(OUT))(x)
    assert torch.equal(x, before)


@needs_onednn
def test_fp32_on_a_cpu_is_prepacked() -> None:
    assert isinstance(bind(FORMATS["fp32"], matrix(), None), PrepackedLinear)
    assert isinstance(bind(FORMATS["bf16"], matrix(), None), DenseLinear)


@needs_onednn
@pytest.mark.parametrize("rows", [0, 1, 2, 7, 16, 300, 1024, 1500])
@WITH_AND_WITHOUT_BIAS
@pytest.mark.parametrize(("out", "width"), [(OUT, IN), (1, 1), (37, 53), (1, 256)])
def test_a_prepacked_product_equals_the_plain_one(rows: int, with_bias: bool, out: int, width: int) -> None:
    weight, x = torch.randn(out, width), torch.randn(rows, width)
    bias = torch.randn(out) if with_bias else None
    got = PrepackedLinear(weight, bias)(x)
    torch.testing.assert_close(got, DenseLinear(weight, bias)(x), atol=1e-5 * width**0.5, rtol=1e-5)


@needs_onednn
def test_a_prepacked_product_takes_rows_that_are_not_contiguous() -> None:
    weight, wide = matrix(), torch.randn(20, 2 * IN)
    for x in (wide[:, :IN], wide[::2, IN:], torch.randn(IN, 20).T):
        torch.testing.assert_close(PrepackedLinear(weight, None)(x), F.linear(x, weight), atol=1e-5, rtol=1e-5)


@needs_onednn
def test_a_prepacked_product_no_longer_needs_the_weight_it_was_made_of() -> None:
    weight = matrix()
    linear, x = PrepackedLinear(weight, None), torch.randn(4, IN)
    before = linear(x)
    weight.zero_()
    assert torch.equal(linear(x), before)


@needs_onednn
def test_products_of_many_sizes_are_not_all_kept_ready(measured: Callable[..., dict[str, Any]]) -> None:
    result = measured(
        """
import torch
from farthing.quant.formats import FORMATS
from farthing.quant.format import MatrixShape
from farthing.quant.format import Region

linear = FORMATS["fp32"].linear({"weight": torch.randn(1536, 384)}, None, MatrixShape(1536, 384), Region())
resident = []
for rows in (range(1, 151), range(151, 301)):
    for number in rows:
        linear(torch.randn(number, 384))
    resident.append(resident_bytes())
print(json.dumps({"grown": resident[1] - resident[0]}))
"""
    )
    assert result["grown"] < 20 * 2**20  # half a mebibyte each
