from __future__ import annotations

import pytest
import torch

from farthing.quant.format import MatrixShape
from farthing.quant.gpu.int8 import GpuInt8Linear, TorchInt8Linear, unpack
from farthing.quant.gpu.rotation import RotatedLinear, rotate
from farthing.quant.gpu.tensors import as_array, as_tensor
from farthing.quant.int8_packed import pack


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def packed(weight: torch.Tensor) -> torch.Tensor:
    return as_tensor(pack(as_array(weight)))


@pytest.mark.parametrize("num_tokens", [1, 16, 17, 300, 1030])
@pytest.mark.parametrize("size", [(48, 96), (5, 7), (64, 128)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_product_is_that_of_the_cpu_with_one_scale_a_row(
    device: torch.device, num_tokens: int, size: tuple[int, int], has_bias: bool
) -> None:
    x, bias = random(num_tokens, size[1]), random(size[0]) if has_bias else None
    block = packed(random(*size))
    on_card = None if bias is None else bias.to(device)
    got = GpuInt8Linear(block.to(device), on_card, MatrixShape(*size, input_group=4))(x.to(device))
    torch.testing.assert_close(got.cpu(), TorchInt8Linear(*unpack(block, *size), bias)(x), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rows_of_16_bits_come_out_in_their_own_type(device: torch.device, dtype: torch.dtype) -> None:
    x, weight = random(33, 128).to(device, dtype), random(64, 128)
    linear = GpuInt8Linear(packed(weight).to(device), None, MatrixShape(64, 128))
    got, want = linear(x), x.float() @ weight.to(device).t()
    assert got.dtype is dtype
    assert float((got - want).norm() / want.norm()) < 0.02


def test_rotated_rows_meet_rotated_weights(device: torch.device) -> None:
    x, weight = random(33, 128).to(device), random(64, 128)
    x[:, 5] += 50
    linear = GpuInt8Linear(packed(rotate(weight)).to(device), None, MatrixShape(64, 128))
    want = x @ weight.to(device).t()
    assert float((RotatedLinear(linear)(x) - want).norm() / want.norm()) < 0.01
    assert float((linear(x) - want).norm() / want.norm()) > 0.5  # rows that were not rotated


def test_a_row_with_inf_comes_out_as_no_number_and_alone(device: torch.device) -> None:
    x, weight = random(20, 64).to(device), random(32, 64)
    x[3, 5] = torch.inf
    got = GpuInt8Linear(packed(weight).to(device), None, MatrixShape(32, 64))(x)
    assert torch.isfinite(got).all(1).tolist() == [row != 3 for row in range(20)]
    assert not torch.isfinite(got[3]).any()
