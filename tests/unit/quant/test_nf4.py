from __future__ import annotations

import pytest
import torch

from farthing.quant import nf4
from farthing.quant.format import MatrixShape, Region
from farthing.quant.native.team import native_kernels
from farthing.quant.nf4 import NativeNf4Linear, Nf4Format
from farthing.quant.nf4_packed import unpack
from farthing.quant.unpacked import UnpackedLinear

needs_native = pytest.mark.skipif(
    native_kernels() is None, reason="the native kernels were not built (no C++ compiler)"
)
FORM = Nf4Format()


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def restored(weight: torch.Tensor) -> torch.Tensor:
    out = torch.empty(weight.shape)
    unpack(FORM.pack(weight)["packed"], out)
    return out


@pytest.fixture
def without_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nf4, "native_kernels", lambda: None)


def test_bytes_are_those_that_are_stored() -> None:
    packed = FORM.pack(random(64, 128))
    assert list(packed) == ["packed"]
    assert FORM.num_bytes(64, 128) == packed["packed"].nbytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_without_kernels_a_product_is_that_of_the_restored_weight(
    without_native: None, dtype: torch.dtype, bias: bool
) -> None:
    weight, x, offset = random(48, 96), random(7, 96).to(dtype), random(48) if bias else None
    linear = FORM.linear(FORM.pack(weight), offset, MatrixShape(48, 96), Region())
    assert isinstance(linear, UnpackedLinear)
    y = linear(x)
    assert y.dtype is dtype
    want = x.double() @ restored(weight).double().T + (0 if offset is None else offset.double())
    tolerance = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), want, atol=tolerance * 10, rtol=tolerance)


@needs_native
@pytest.mark.parametrize("bias", [True, False])
def test_native_products_differ_by_the_rounding_to_int8_alone(bias: bool) -> None:
    weight, x, offset = random(64, 192), random(300, 192), random(64) if bias else None
    linear = FORM.linear(FORM.pack(weight), offset, MatrixShape(64, 192), Region())
    assert isinstance(linear, NativeNf4Linear)
    want = x @ restored(weight).T + (0 if offset is None else offset)
    error = float((linear(x) - want).norm() / want.norm())
    assert 1e-3 < error < 0.015


@pytest.mark.parametrize("way", ["native", "torch"])
def test_layers_that_share_a_region_take_turns_in_it(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "torch":
        monkeypatch.setattr(nf4, "native_kernels", lambda: None)
    elif native_kernels() is None:
        pytest.skip("the native kernels were not built (no C++ compiler)")
    x, region = random(9, 192), Region()
    weights = [random(64, 192), random(64, 192) + 1]
    layers = [FORM.linear(FORM.pack(weight), None, MatrixShape(64, 192), region) for weight in weights]
    first, second, again = layers[0](x), layers[1](x), layers[0](x)
    assert torch.equal(first, again)
    assert not torch.allclose(first, second)
    regions = [Region(), Region()]
    alone = [
        FORM.linear(FORM.pack(weight), None, MatrixShape(64, 192), own)(x)
        for weight, own in zip(weights, regions, strict=True)
    ]
    assert torch.equal(first, alone[0])
    assert torch.equal(second, alone[1])


def test_a_region_grows_to_the_largest_that_was_asked_for_and_is_one_memory() -> None:
    region, cpu = Region(), torch.device("cpu")
    large = region.take((4, 64), torch.float32, cpu)
    small = region.take((2, 64), torch.bfloat16, cpu)
    assert small.dtype is torch.bfloat16
    assert small.shape == (2, 64)
    assert small.data_ptr() == large.data_ptr()
    assert region.take((8, 64), torch.float32, cpu).shape == (8, 64)
