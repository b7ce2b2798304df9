from __future__ import annotations

import numpy as np
import torch

from farthing.core.arrays import ALIGNMENT, BF16, DTYPES, NAMES, aligned_empty, aligned_zeros, to_bf16, to_float32


def test_bf16_rounds_as_torch_does() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    numbers = bits.view(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    expected = torch.from_numpy(numbers.copy()).bfloat16().view(torch.uint16).numpy()
    np.testing.assert_array_equal(to_bf16(numbers), expected)


def test_bf16_keeps_what_is_no_number() -> None:
    found = to_float32(to_bf16(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype=np.float32)))
    assert np.isnan(found[0])
    assert found[1:].tolist() == [np.inf, -np.inf, 0.0, -0.0]


def test_every_stored_number_is_exact_in_fp32() -> None:
    halves = np.arange(2**16, dtype=np.uint16)
    expected = torch.from_numpy(halves.copy()).view(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(to_float32(halves), expected)
    np.testing.assert_array_equal(to_float32(halves.view(np.float16)), halves.view(np.float16).astype(np.float32))
    numbers = np.ones(3, dtype=np.float32)
    assert to_float32(numbers) is numbers


def test_memory_is_aligned() -> None:
    for num_bytes in (1, 63, 4096):
        for memory in (aligned_empty(num_bytes), aligned_zeros(num_bytes)):
            assert memory.ctypes.data % ALIGNMENT == 0
            assert memory.nbytes == num_bytes


def test_names_go_both_ways() -> None:
    assert {NAMES[dtype] for dtype in DTYPES.values()} == set(DTYPES)
    assert DTYPES["BF16"] == BF16
