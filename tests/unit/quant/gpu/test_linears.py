"""Products in torch of what each format packs, on a card, or on a CPU as the tests' reference."""

from __future__ import annotations

import pytest
import torch
from numpy_kernels import NUMPY_KERNELS

from farthing.quant.format import MatrixShape
from farthing.quant.formats import FORMATS, weight_format
from farthing.quant.gpu import nf4_block
from farthing.quant.gpu.linear import Linear, TensorRegion
from farthing.quant.gpu.linears import LINEARS, DenseLinear, card_linear
from farthing.quant.gpu.rotation import RotatedLinear, hadamard, rotate
from farthing.quant.gpu.rows import quantise_rows
from farthing.quant.gpu.tensors import as_array, as_tensor
from farthing.quant.nf4_packed import LEVELS, pack

SIZE = (48, 96)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CPU = torch.device("cpu")


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def bound(
    form: str,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    device: torch.device,
    region: TensorRegion | None = None,
    input_group: int | None = None,
) -> Linear:
    packed = {
        name: as_tensor(array).to(device)
        for name, array in weight_format(form).pack(as_array(weight), NUMPY_KERNELS).items()
    }
    shape = MatrixShape(*weight.shape, input_group)
    on_device = None if bias is None else bias.to(device)
    return card_linear(form, packed, on_device, shape, region or TensorRegion())


def restored(form: str, weight: torch.Tensor) -> torch.Tensor:
    """The weight as the format stores it, fp64: products with unit rows, in which nothing else is rounded."""
    return bound(form, weight, None, CPU)(torch.eye(weight.shape[1])).T.double()


def test_every_format_has_a_product_in_torch() -> None:
    assert set(LINEARS) == set(FORMATS)


@pytest.mark.parametrize("form", ["nf4", "fp8", *DTYPES])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_product_is_that_of_the_stored_weight_in_the_type_of_the_rows(
    form: str, dtype: torch.dtype, has_bias: bool
) -> None:
    weight, x, bias = random(*SIZE), random(7, SIZE[1]).to(dtype), random(SIZE[0]) if has_bias else None
    y = bound(form, weight, bias, CPU)(x)
    assert y.dtype is dtype
    want = x.double() @ restored(form, weight).T + (0 if bias is None else bias.double())
    tolerance = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), want, atol=tolerance * 10, rtol=tolerance)


@pytest.mark.parametrize("form", DTYPES)
def test_plain_weights_are_those_that_were_packed(form: str) -> None:
    weight = random(*SIZE)
    assert torch.equal(restored(form, weight), weight.to(DTYPES[form]).double())
    assert isinstance(bound(form, weight, None, CPU), DenseLinear)


@pytest.mark.parametrize(("form", "most"), [("nf4", 0.1), ("fp8", 0.04)])
def test_unpacked_weights_are_close_to_those_that_were_packed(form: str, most: float) -> None:
    weight = random(*SIZE)
    assert float((restored(form, weight) - weight).norm() / weight.norm()) < most


@pytest.mark.parametrize("num_tokens", [1, 2, 7, 16, 17, 33, 300])
@pytest.mark.parametrize("has_bias", [True, False])
def test_int8_is_the_exact_product_of_quantised_rows_and_weights(num_tokens: int, has_bias: bool) -> None:
    x, weight, bias = random(num_tokens, 96), random(48, 96), random(48)
    linear = bound("int8", weight, bias if has_bias else None, CPU)
    (qx, sx), (qw, sw) = quantise_rows(x), quantise_rows(weight)
    exact = (qx.double() @ qw.double().T) * sx.double() * sw.double().T + (bias.double() if has_bias else 0)
    assert linear(x).numpy() == pytest.approx(exact.numpy(), rel=1e-5, abs=1e-5)


def test_each_group_of_inputs_has_a_scale_of_its_own_on_a_cpu() -> None:
    x, weight = random(9, 600), random(48, 600)
    x[:, 256:512] *= 1000
    linear = bound("int8", weight, None, CPU, input_group=256)
    qw, sw = quantise_rows(weight)
    groups = [quantise_rows(part) for part in x.split(256, dim=1)]
    rounded = torch.cat([quantised.double() * scale for quantised, scale in groups], dim=1)
    assert linear(x).numpy() == pytest.approx((rounded @ (qw.double() * sw).T).numpy(), rel=1e-4, abs=1e-2)


@pytest.mark.parametrize("form", ["nf4", "fp8"])
def test_layers_that_share_a_region_take_turns_in_it(form: str, device: torch.device) -> None:
    x, region = random(9, 192).to(device), TensorRegion()
    weights = [random(64, 192), random(64, 192) + 1]
    layers = [bound(form, weight, None, device, region) for weight in weights]
    first, second, again = layers[0](x), layers[1](x), layers[0](x)
    assert torch.equal(first, again)
    alone = [bound(form, weight, None, device)(x) for weight in weights]
    assert torch.equal(first, alone[0])
    assert torch.equal(second, alone[1])
    assert not torch.allclose(first, second)


def test_a_region_grows_to_the_largest_that_was_asked_for_and_is_one_memory() -> None:
    region = TensorRegion()
    large = region.take((4, 64), torch.float32, CPU)
    small = region.take((2, 64), torch.bfloat16, CPU)
    assert (small.dtype, small.shape) == (torch.bfloat16, (2, 64))
    assert small.data_ptr() == large.data_ptr()
    assert region.take((8, 64), torch.float32, CPU).shape == (8, 64)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_nf4_is_unpacked_to_the_type_that_is_asked_for(dtype: torch.dtype) -> None:
    weight = torch.tensor(LEVELS).repeat(40, 8) * random(40, 1).abs()
    block = as_tensor(pack(as_array(weight)))
    out = torch.full(weight.shape, torch.nan, dtype=dtype)
    nf4_block.unpack(block, out)
    torch.testing.assert_close(out, weight.to(dtype))


def test_a_rotated_product_is_the_same_product(device: torch.device) -> None:
    x, weight = random(9, 384).to(device), random(5, 384)
    linear = RotatedLinear(bound("fp32", rotate(weight), None, device))
    torch.testing.assert_close(linear(x).cpu(), x.cpu() @ weight.T, atol=1e-4, rtol=1e-4)


def test_the_rotation_is_that_of_the_packed_weights() -> None:
    from farthing.quant import rotation

    assert torch.equal(hadamard(), torch.tensor(rotation.hadamard()))
    rows = random(5, 192)
    torch.testing.assert_close(rotate(rows), torch.from_numpy(rotation.rotate(rows.numpy())), atol=1e-6, rtol=1e-6)


def test_arrays_and_tensors_share_their_memory() -> None:
    for dtype in (*DTYPES.values(), torch.uint8):
        tensor = torch.arange(6).to(dtype)
        array = as_array(tensor)
        back = as_tensor(array)
        assert (back.dtype, back.data_ptr(), array.ctypes.data) == (dtype, tensor.data_ptr(), tensor.data_ptr())
        assert torch.equal(back, tensor)
