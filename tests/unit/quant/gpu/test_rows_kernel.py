from __future__ import annotations

import pytest
import torch

from farthing.quant.gpu.rows import E4M3, e4m3_rows
from farthing.quant.packed import quantise_rows
from farthing.quant.rotation import rotate

pytest.importorskip("triton", reason="triton is not installed")
from farthing.quant.gpu.rows_kernel import quantise

BY_TORCH = {torch.int8: quantise_rows, E4M3: e4m3_rows}
every_kind = pytest.mark.parametrize("dtype", [torch.int8, E4M3])


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@every_kind
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(1, 64), (5, 200), (3, 1088)])
def test_rows_are_quantised_to_what_torch_makes_of_them(
    device: torch.device, dtype: torch.dtype, kind: torch.dtype, shape: tuple[int, int]
) -> None:
    rows = (random(*shape) * torch.logspace(-3, 3, shape[0])[:, None]).to(kind).to(device)
    values, scales = quantise(rows, dtype, rotates=False)
    want, want_scales = BY_TORCH[dtype](rows.float())
    assert values.dtype is dtype
    assert torch.equal(values.float(), want.float())
    assert torch.equal(scales, want_scales)


@every_kind
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_rows_are_rotated_before_they_are_quantised(
    device: torch.device, dtype: torch.dtype, kind: torch.dtype
) -> None:
    rows = random(4, 320).to(kind).to(device)
    rows[:, 5] += 50
    values, scales = quantise(rows, dtype, rotates=True)
    got, want = values.float() * scales, rotate(rows)
    step = want.abs().amax(1, keepdim=True) / (127 if dtype is torch.int8 else 16)
    assert ((got - want).abs() <= 0.51 * step).all()
    assert float(scales.max()) < 0.5 * float(quantise(rows, dtype, rotates=False)[1].max())


@every_kind
def test_rows_of_zeros_and_rows_with_nan_and_inf_stay_apart(device: torch.device, dtype: torch.dtype) -> None:
    rows = random(4, 64).to(device)
    rows[0] = 0
    rows[1, 5], rows[2, 5] = torch.nan, torch.inf
    values, scales = quantise(rows, dtype, rotates=False)
    assert not values[0].float().any()
    assert torch.isfinite(scales[:, 0]).tolist() == [True, False, False, True]
