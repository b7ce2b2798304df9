from __future__ import annotations

import hashlib

import numpy as np
import pytest

from farthing.core.arrays import Array
from farthing.models.forward.rotation import Rotation
from farthing.quant.native.team import LIBRARY, native_kernels

WIDTHS = pytest.mark.parametrize("width", [1, 24, 64, 96, 97, 384, 1024, 2560, 4096])


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


@WIDTHS
def test_the_inverse_leads_back_and_lengths_stay(width: int) -> None:
    rotation, rows = Rotation(width), random(7, width)
    turned = rotation.apply(rows)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(rotation.inverse(turned), rows, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(rows, axis=1), rtol=1e-5)


@WIDTHS
def test_products_of_rows_stay(width: int) -> None:
    rows = random(5, width).astype(np.float64)
    turned = Rotation(width).apply(rows.astype(np.float32)).astype(np.float64)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, atol=1e-3 * width**0.5)


@pytest.mark.parametrize(("width", "most"), [(64, 1.0), (1024, 1.0), (384, 1.5), (2560, 1.5), (4096, 1.0)])
def test_one_channel_is_spread_over_all(width: int, most: float) -> None:
    spread = np.abs(Rotation(width).apply(np.eye(width, dtype=np.float32)[3:5])) * width**0.5
    assert float(spread.max()) < most + 1e-5


def test_rows_are_left_as_they_are_and_need_not_be_contiguous() -> None:
    rotation, rows = Rotation(24), random(24, 6)
    before = rows.copy()
    for turn in (rotation.apply, rotation.inverse):
        np.testing.assert_allclose(turn(rows.T), turn(rows.T.copy()), atol=1e-6)
    assert np.array_equal(rows, before)


def test_the_rotation_never_changes_because_folders_rely_on_it() -> None:
    turned = Rotation(24).apply(np.arange(24, dtype=np.float32)[None])[0]
    pinned = [-1.2247443, 16.0, 0.0, -4.4907308, -10.0, 18.475208]
    assert turned[:6].tolist() == pytest.approx(pinned, abs=1e-4)


def test_the_signs_never_change_because_folders_rely_on_them() -> None:
    """The digest is that of torch's numbers, which version 0.1 made."""
    rotation = Rotation(1024)
    assert hashlib.sha256(rotation.signs.tobytes()).hexdigest()[:16] == "7a3f4f14a89590bc"
    assert np.array_equal(np.abs(rotation.left), np.full((32, 32), np.float32(32**-0.5)))


@WIDTHS
@pytest.mark.skipif(not LIBRARY.is_file(), reason="the native kernels were not built (no C++ compiler)")
def test_the_kernels_rotate_as_numpy_does(width: int) -> None:
    rotation, rows, kernels = Rotation(width), random(33, width), native_kernels(2)
    np.testing.assert_allclose(rotation.apply(rows, kernels), rotation.apply(rows), atol=1e-5)
    np.testing.assert_allclose(rotation.inverse(rows, kernels), rotation.inverse(rows), atol=1e-5)
