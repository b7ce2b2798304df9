"""Numbers as they are kept in arrays on the host.

numpy has no bf16. An array of `BF16`, which is uint16, holds the upper halves of fp32 numbers; nothing else here is
uint16. Memory that the native kernels read begins at a multiple of `ALIGNMENT` bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

ALIGNMENT = 64
BF16 = np.dtype(np.uint16)
# By safetensors' names (https://github.com/huggingface/safetensors#format).
DTYPES: Mapping[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": BF16,
    "F64": np.dtype(np.float64),
    "BOOL": np.dtype(np.bool_),
    **{f"{sign}{bits}": np.dtype(f"{sign.lower()}{bits // 8}") for sign in "IU" for bits in (8, 32, 64)},
    "I16": np.dtype(np.int16),
}
NAMES: Mapping[np.dtype[Any], str] = {dtype: name for name, dtype in DTYPES.items()}


def to_float32(array: Array) -> Array:
    """The numbers as fp32; the array itself where it is fp32 already."""
    if array.dtype == BF16:
        wide = array.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return array.astype(np.float32, copy=False)


def to_bf16(array: Array) -> Array:
    """fp32 numbers as bf16, rounded to nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(array), np.uint32(0x7FC0), rounded).astype(BF16)


def aligned_empty(num_bytes: int) -> Array:
    """New memory, uint8 [num_bytes], for the native kernels; what is in it is arbitrary."""
    memory = np.empty(num_bytes + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + num_bytes]


def aligned_zeros(num_bytes: int) -> Array:
    """New memory, uint8 [num_bytes], for the native kernels, of zeros."""
    memory = np.zeros(num_bytes + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + num_bytes]
