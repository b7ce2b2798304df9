from __future__ import annotations

import pytest
import torch

from farthing.quant.format import MatrixShape, Region
from farthing.quant.fp8 import Fp8Format, unpack


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def restored(weight: torch.Tensor) -> torch.Tensor:
    out = torch.empty(weight.shape)
    unpack(Fp8Format().pack(weight)["packed"], out)
    return out


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (33, 513), (64, 128)])
def test_bytes_are_those_that_are_stored(shape: tuple[int, int]) -> None:
    packed = Fp8Format().pack(random(*shape))
    assert list(packed) == ["packed"]
    assert packed["packed"].numel() == Fp8Format().num_bytes(*shape)
    assert packed["packed"].numel() % 64 == 0


def test_a_channels_largest_value_is_exact_and_none_is_off_by_more_than_a_sixteenth() -> None:
    weight = random(48, 200) * torch.logspace(-6, 6, 48)[:, None]  # each channel of another size
    got = restored(weight)
    largest = weight.abs().argmax(1, keepdim=True)
    torch.testing.assert_close(got.gather(1, largest), weight.gather(1, largest))
    # Three bits behind the point; below 2^-6 of 448 steps are of one size.
    bound = weight.abs() / 16 + weight.abs().amax(1, keepdim=True) / 448 * 2**-10
    assert ((got - weight).abs() <= bound).all()


def test_zeros_stay_zeros_and_nan_and_inf_stay_in_their_channel() -> None:
    weight = random(4, 64)
    weight[0] = 0
    weight[1, 5], weight[2, 5] = torch.nan, torch.inf
    got = restored(weight)
    assert not got[0].any()
    assert torch.isfinite(got).all(1).tolist() == [True, False, False, True]
    assert not torch.isfinite(got[1]).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_that_of_the_restored_weight_in_the_type_of_the_rows(dtype: torch.dtype, bias: bool) -> None:
    weight, x, offset = random(48, 96), random(7, 96).to(dtype), random(48) if bias else None
    form = Fp8Format()
    linear = form.linear(form.pack(weight), offset, MatrixShape(48, 96), Region())
    y = linear(x)
    assert y.dtype is dtype
    want = x.double() @ restored(weight).double().T + (0 if offset is None else offset.double())
    tolerance = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), want, atol=tolerance * 10, rtol=tolerance)
