"""Blocks against values taken out of them number by number, as ggml-quants.c defines them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from farthing.checkpoint.gguf.blocks import block_type
from farthing.core.arrays import BF16
from farthing.core.errors import CheckpointError, MissingExtraError

Q4_0, Q8_0, Q4_K, Q6_K = 2, 8, 12, 14


def half(block: bytes) -> float:
    return float(np.frombuffer(block, np.float16)[0])


def signed(octet: int) -> int:
    return octet - 256 if octet > 127 else octet


def q4_0(block: bytes) -> list[float]:
    scale, packed = half(block[:2]), block[2:]
    return [scale * ((octet & 15) - 8) for octet in packed] + [scale * ((octet >> 4) - 8) for octet in packed]


def q8_0(block: bytes) -> list[float]:
    return [half(block[:2]) * signed(octet) for octet in block[2:]]


def q4_k(block: bytes) -> list[float]:
    scale, least, steps, packed = half(block[:2]), half(block[2:4]), block[4:16], block[16:]
    values = []
    for group in range(8):  # of 32 values, with six bits of scale and six of minimum each
        if group < 4:
            step, offset = steps[group] & 63, steps[group + 4] & 63
        else:
            step = (steps[group + 4] & 15) | ((steps[group - 4] >> 6) << 4)
            offset = (steps[group + 4] >> 4) | ((steps[group] >> 6) << 4)
        for octet in packed[32 * (group // 2) : 32 * (group // 2 + 1)]:
            level = octet >> 4 if group % 2 else octet & 15
            values.append(scale * step * level - least * offset)
    return values


def q6_k(block: bytes) -> list[float]:
    low, high, steps, scale = block[:128], block[128:192], block[192:208], half(block[208:])
    values = [0.0] * 256
    for place in range(256):
        part, inner = divmod(place, 128)  # two halves of four runs of 32 values
        run, column = divmod(inner, 32)
        octet = low[64 * part + 32 * (run % 2) + column]
        four = octet >> 4 if run > 1 else octet & 15
        two = (high[32 * part + column] >> (2 * run)) & 3
        step = signed(steps[8 * part + 2 * run + column // 16])
        values[place] = scale * step * ((four | two << 4) - 32)
    return values


@pytest.mark.parametrize(
    ("number", "scale_at", "expected"),
    [(Q4_0, (0,), q4_0), (Q8_0, (0,), q8_0), (Q4_K, (0, 2), q4_k), (Q6_K, (208,), q6_k)],
)
def test_blocks_stand_for_the_values_that_the_format_defines(
    number: int, scale_at: tuple[int, ...], expected: Callable[[bytes], list[float]]
) -> None:
    kind = block_type(number)
    rows = np.random.default_rng(number).integers(0, 256, (3, 2 * kind.bytes), dtype=np.uint8)
    for start in (0, kind.bytes):
        for place in scale_at:  # any bits but those of Inf and NaN
            rows[:, start + place : start + place + 2] = np.array([[0.013], [-2.5], [6e-6]], np.float16).view(np.uint8)
    assert kind.dequantise is not None
    got = kind.dequantise(rows)
    assert got.dtype == np.float32
    assert got.shape == (3, 2 * kind.values)
    blocks = rows.reshape(-1, kind.bytes)
    want = np.array([expected(block.tobytes()) for block in blocks]).reshape(got.shape)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("number", "dtype"), [(0, np.dtype(np.float32)), (1, np.dtype(np.float16)), (30, BF16)])
def test_plain_values_need_no_package(number: int, dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setitem(sys.modules, "gguf.constants", None)
    kind = block_type(number)
    assert (kind.plain, kind.row_bytes(10)) == (dtype, 10 * dtype.itemsize)


def test_quantised_values_name_the_extra_that_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setitem(sys.modules, "gguf.constants", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'farthing\[gguf\]'"):
        block_type(Q8_0)


@pytest.mark.parametrize(
    ("number", "why"), [(9999, "The type 9999 is not one of those"), (24, "Values of type I8 cannot be dequantised")]
)
def test_types_that_cannot_be_read_are_refused_with_those_that_can(number: int, why: str) -> None:
    with pytest.raises(CheckpointError, match=f"{why}.*take a file in Q8_0, Q6_K, Q4_K or F16|{why}.*Take a file"):
        block_type(number)
