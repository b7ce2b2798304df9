"""Arrays that lie in a mapped file: read through the page cache when they are touched, and written by nobody.

The mapping is private and counts as writable, so that libraries which ask for writable memory take the arrays. A
mapping lives as long as any array on it; then its pages are given back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from farthing.core.arrays import Array
from farthing.core.errors import CheckpointError


def map_bytes(file: Path, offset: int, num_bytes: int) -> Array:
    """The bytes of a file from `offset` on, uint8 [num_bytes], on a mapping of their own.

    Raises:
        CheckpointError: the file cannot be read, or is shorter.
    """
    if num_bytes == 0:
        return np.empty(0, dtype=np.uint8)  # a mapping cannot be empty
    try:
        return np.asarray(np.memmap(file, np.uint8, "c", offset, (num_bytes,)))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}. Check the disk, or download it again.") from error


def as_numbers(octets: Array, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
    """The numbers of `dtype` in `shape` that the bytes uint8 [n] are, where they lie.

    They are copied only if they begin at an address that is no multiple of their size, as in no file that is written
    today: neither kernels nor torch take such arrays.
    """
    numbers = octets.view(dtype).reshape(shape)
    return numbers if numbers.flags.aligned else numbers.copy()
