from __future__ import annotations

import pytest
import torch
from numpy_kernels import NUMPY_KERNELS

from farthing.quant.format import MatrixShape
from farthing.quant.fp8 import Fp8Format
from farthing.quant.gpu import fp8
from farthing.quant.gpu.fp8 import GpuFp8Linear, can_multiply
from farthing.quant.gpu.linear import TensorRegion
from farthing.quant.gpu.rotation import RotatedLinear, rotate
from farthing.quant.gpu.rows import e4m3_rows
from farthing.quant.gpu.support import multiplies_fp8
from farthing.quant.gpu.tensors import as_array, as_tensor
from farthing.quant.gpu.unpacked import UnpackedLinear

SIZE = (48, 128)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def packed(weight: torch.Tensor) -> torch.Tensor:
    return as_tensor(Fp8Format().pack(as_array(weight), NUMPY_KERNELS)["packed"])


def linear_of(weight: torch.Tensor, bias: torch.Tensor | None, device: torch.device) -> GpuFp8Linear:
    if device.type == "cuda" and not multiplies_fp8(device):
        pytest.skip("this card does not multiply e4m3")
    block = packed(weight).to(device)
    shape = MatrixShape(*weight.shape)
    unpacked = UnpackedLinear(lambda out: fp8.unpack(block, out), bias, shape, TensorRegion())
    scales, values = fp8.views(block, *weight.shape)
    return GpuFp8Linear(values, scales, bias, unpacked)


def restored(weight: torch.Tensor) -> torch.Tensor:
    out = torch.empty(weight.shape)
    fp8.unpack(packed(weight), out)
    return out


@pytest.mark.parametrize("num_tokens", [1, 17, 100])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_product_is_that_of_the_quantised_rows_and_weights(
    device: torch.device, num_tokens: int, has_bias: bool
) -> None:
    weight, x = random(*SIZE), random(num_tokens, SIZE[1]).bfloat16()
    bias = random(SIZE[0]) if has_bias else None
    got = linear_of(weight, None if bias is None else bias.to(device), device)(x.to(device)).cpu()
    values, scales = e4m3_rows(x.float())
    want = (values.double() * scales) @ restored(weight).double().T + (0 if bias is None else bias.double())
    assert got.dtype is torch.bfloat16
    torch.testing.assert_close(got.double(), want, atol=0.1, rtol=0.02)


def test_rows_in_fp32_are_multiplied_by_the_unpacked_weight(device: torch.device) -> None:
    weight, x = random(*SIZE), random(9, SIZE[1])
    got = linear_of(weight, None, device)(x.to(device)).cpu()
    torch.testing.assert_close(got, x @ restored(weight).T, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotated_rows_meet_rotated_weights(device: torch.device, dtype: torch.dtype) -> None:
    weight, x = random(*SIZE), random(33, SIZE[1]).to(device, dtype)
    got, want = RotatedLinear(linear_of(rotate(weight), None, device))(x), x.float() @ weight.to(device).t()
    assert float((got - want).norm() / want.norm()) < 0.06


def test_widths_that_torch_does_not_take_are_unpacked() -> None:
    assert [can_multiply(*size) for size in ((48, 128), (48, 100), (50, 128))] == [True, False, False]
