"""Codes of e4m3 against torch's, over all of fp32's exponents."""

from __future__ import annotations

import numpy as np
import torch

from farthing.quant.e4m3 import LARGEST, VALUES, encoded


def codes_of_torch(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values).to(torch.float8_e4m3fn).view(torch.uint8).numpy()


def test_every_code_stands_for_torchs_number() -> None:
    want = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()
    assert np.array_equal(VALUES, want, equal_nan=True)
    assert np.nanmax(VALUES) == LARGEST == torch.finfo(torch.float8_e4m3fn).max


def test_numbers_are_rounded_as_torch_rounds_them() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 500_000, dtype=np.uint32)
    ends = rng.integers(0, 2**32, 500_000, dtype=np.uint32) & np.uint32(0xFFF80000) | np.uint32(0x00080000)  # ties
    values = np.concatenate([bits, ends, ends + np.uint32(1), ends - np.uint32(1)]).view(np.float32)
    near = rng.uniform(-500, 500, 500_000).astype(np.float32)
    for numbers in (values, near, near * np.float32(2**-12), VALUES):
        assert np.array_equal(encoded(numbers), codes_of_torch(numbers))


def test_the_halfway_points_go_to_even() -> None:
    finite = np.sort(VALUES[np.isfinite(VALUES)])
    halfway = (finite[1:] + finite[:-1]) / np.float32(2)
    assert np.array_equal(encoded(halfway), codes_of_torch(halfway))


def test_what_is_larger_than_448_becomes_448() -> None:
    values = np.array([448, 465, 480, 1e9, np.inf, -np.inf, np.nan], np.float32)
    assert encoded(values).tolist() == [0x7E, 0x7E, 0x7E, 0x7E, 0x7E, 0xFE, 0x7F]
