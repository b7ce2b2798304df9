from __future__ import annotations

import pytest
import torch

from farthing.quant.gpu.rotation import rotate
from farthing.quant.gpu.rows import E4M3, e4m3_rows, quantise_rows

pytest.importorskip("triton", reason="triton is not installed")
from farthing.quant.gpu.rows_kernel import quantise


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(1, 64), (5, 200), (3, 1088)])
def test_rows_in_int8_are_those_of_torch(device: torch.device, kind: torch.dtype, shape: tuple[int, int]) -> None:
    rows = (random(*shape) * torch.logspace(-3, 3, shape[0])[:, None]).to(kind).to(device)
    values, scales = quantise(rows, torch.int8, rotates=False)
    want, want_scales = quantise_rows(rows.float())
    assert values.dtype is torch.int8
    assert torch.equal(values, want)
    assert torch.equal(scales, want_scales)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_rows_in_e4m3_are_those_of_torch(device: torch.device, kind: torch.dtype) -> None:
    """On numbers that e4m3 has: the interpreter does not round to it as a card does."""
    rows = (random(5, 200) * 20).to(E4M3).float()
    rows[:, 7] = 448
    rows = (rows * torch.tensor([1.0, 2, 4, 0.5, 0.25])[:, None]).to(kind).to(device)
    values, scales = quantise(rows, E4M3, rotates=False)
    want, want_scales = e4m3_rows(rows.float())
    assert values.dtype is E4M3
    assert torch.equal(values.float(), want.float())
    assert torch.equal(scales, want_scales)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_rows_are_rotated_before_they_are_quantised(device: torch.device, kind: torch.dtype) -> None:
    rows = random(4, 320).to(kind).to(device)
    rows[:, 5] += 50
    values, scales = quantise(rows, torch.int8, rotates=True)
    got, want = values.float() * scales, rotate(rows)
    assert ((got - want).abs() <= 0.51 * want.abs().amax(1, keepdim=True) / 127).all()
    assert float(scales.max()) < 0.5 * float(quantise(rows, torch.int8, rotates=False)[1].max())


@pytest.mark.filterwarnings("ignore:invalid value")  # the interpreter's, where a row has inf
@pytest.mark.parametrize("dtype", [torch.int8, E4M3])
def test_rows_of_zeros_and_rows_with_nan_and_inf_stay_apart(device: torch.device, dtype: torch.dtype) -> None:
    rows = random(4, 64).to(device)
    rows[0] = 0
    rows[1, 5], rows[2, 5] = torch.nan, torch.inf
    values, scales = quantise(rows, dtype, rotates=False)
    assert not values[0].float().any()
    assert torch.isfinite(scales[:, 0]).tolist() == [True, False, False, True]
