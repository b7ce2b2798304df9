"""Random matrices, made by all processors: the same for a seed, a name and a size, whatever the number of processors.

Rows are made some at a time, each piece from a generator of its own, in fp32, and rounded to the dtype that is asked
for. A number is the sum of four random bytes, which is nearly normally distributed (up to 3.45 deviations), and takes
half the time of a normal one. It needs nothing of numpy's generators but their bits, which stay the same from
version to version.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from farthing.core.arrays import BF16, Array
from farthing.quant.dense import as_dtype

BYTES = 4  # of a number
# Of the sum of such bytes, from -128 to 127, of which one is odd, so that no number is zero.
MEAN, DEVIATION = -0.5 * (BYTES - 1), (BYTES * (2**16 - 1) / 12) ** 0.5
PIECE_VALUES = 2**16  # a quarter of a mebibyte, which stays in a processor's cache

# name, the number of the first row, rows [n, width] fp32: changes them in place; a vector is one row
Change = Callable[[str, int, Array], None]


def generator(seed: int, name: str, piece: int = 0) -> np.random.Generator:
    """A generator seeded by the tensor's name, so that fewer layers change nothing in the ones that stay."""
    return np.random.Generator(np.random.SFC64([seed, zlib.crc32(name.encode()), piece]))


def random_tensor(
    name: str,
    size: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    seed: int,
    mean: float,
    deviation: float,
    change: Change | None = None,
) -> Array:
    """Nearly normally distributed numbers [size] of `dtype`; size is that of a vector or a matrix."""
    tensor = np.empty(size, dtype=dtype)
    rows = tensor.reshape(-1, size[-1])
    step = max(1, PIECE_VALUES // size[-1])

    def fill(piece: int) -> None:
        first = piece * step
        part = rows[first : first + step]
        made = sums(generator(seed, name, piece), part.size).reshape(part.shape)
        made *= np.float32(deviation / DEVIATION)
        made += np.float32(mean - deviation / DEVIATION * MEAN)
        if change is not None:
            change(name, first, made)
        part[:] = rounded(made, dtype)

    pieces = range(-(-rows.shape[0] // step))
    if len(pieces) == 1:
        fill(0)
    else:
        with ThreadPoolExecutor(num_processors()) as pool:
            list(pool.map(fill, pieces))  # raises what a piece has raised
    return tensor


def sums(source: np.random.Generator, count: int) -> Array:
    """Sums [count] fp32 of four random bytes; their mean and deviation are `MEAN` and `DEVIATION`."""
    words = source.integers(0, 2**64 - 1, -(-count // 2), dtype=np.uint64, endpoint=True)
    octets = words.view(np.int8).reshape(BYTES, -1)
    total = (octets[0] | np.int8(1)).astype(np.int16)
    for more in octets[1:]:
        total += more
    numbers: Array = total[:count].astype(np.float32)
    return numbers


def rounded(numbers: Array, dtype: np.dtype[Any]) -> Array:
    """Finite numbers as `dtype`, to nearest; ties of bf16 go away from zero. `numbers` may be changed."""
    if dtype != BF16:
        return as_dtype(numbers, dtype)
    numbers.view(np.uint32)[:] += np.uint32(0x8000)
    return numbers.view(np.uint16)[..., 1::2]


def num_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
