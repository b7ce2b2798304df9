from __future__ import annotations

import pytest
import torch

from farthing.models.forward.rotation import Rotation

WIDTHS = pytest.mark.parametrize("width", [1, 24, 64, 96, 97, 384, 1024, 2560, 4096])


@WIDTHS
def test_the_inverse_leads_back_and_lengths_stay(width: int) -> None:
    rotation, rows = Rotation(width), torch.randn(7, width, generator=torch.Generator().manual_seed(width))
    turned = rotation.apply(rows)
    assert torch.allclose(rotation.inverse(turned), rows, atol=1e-5)
    assert torch.allclose(turned.norm(dim=1), rows.norm(dim=1), rtol=1e-5)


@WIDTHS
def test_products_of_rows_stay(width: int) -> None:
    rows = torch.randn(5, width, generator=torch.Generator().manual_seed(width))
    turned = Rotation(width).apply(rows).double()
    assert torch.allclose(turned @ turned.T, rows.double() @ rows.double().T, atol=1e-3 * width**0.5)


@pytest.mark.parametrize(("width", "most"), [(64, 1.0), (1024, 1.0), (384, 1.5), (2560, 1.5), (4096, 1.0)])
def test_one_channel_is_spread_over_all(width: int, most: float) -> None:
    spread = Rotation(width).apply(torch.eye(width)[3:5]).abs() * width**0.5
    assert float(spread.max()) < most + 1e-5


def test_the_rotation_never_changes_because_folders_rely_on_it() -> None:
    turned = Rotation(24).apply(torch.arange(24.0)[None])[0]
    pinned = [-1.2247443, 16.0, 0.0, -4.4907308, -10.0, 18.475208]
    assert turned[:6].tolist() == pytest.approx(pinned, abs=1e-4)
