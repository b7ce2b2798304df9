"""Arrays that lie in a mapped file: read through the page cache when they are touched, and written by nobody.

The mapping is private and counts as writable, so that libraries which ask for writable memory take the arrays. A
mapping lives as long as any array on it; then its pages are given back.
"""

from __future__ import annotations

import os
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


def read_rows(mapped: Array, ids: Array) -> Array | None:
    """The rows [n, width] of `ids` [n] of an array on a mapping, read from its file past the mapping.

    A row that is touched where it is mapped may bring pages around it into memory, on Linux 6.18 as much as 2 MiB. None
    where the array lies on no mapping, and where the system cannot read so (Windows).

    Raises:
        CheckpointError: the file cannot be read any more, or is shorter.
    """
    mapping = mapped
    while mapping is not None and not isinstance(mapping, np.memmap):
        mapping = mapping.base  # type: ignore[assignment]
    if mapping is None or not hasattr(os, "preadv"):
        return None
    first = mapping.offset + mapped.ctypes.data - mapping.ctypes.data
    rows = np.empty((len(ids), *mapped.shape[1:]), dtype=mapped.dtype)
    octets, row_bytes = rows.reshape(-1).view(np.uint8), mapped.strides[0]
    assert mapped.flags.c_contiguous
    try:
        with Path(str(mapping.filename)).open("rb", buffering=0) as file:
            for place, row in enumerate(ids.tolist()):
                target = octets[place * row_bytes : (place + 1) * row_bytes]
                if os.preadv(file.fileno(), [target.data], first + row * row_bytes) != row_bytes:
                    raise CheckpointError(f"{mapping.filename} is cut short. Download the model again.")
    except OSError as error:
        raise CheckpointError(f"{mapping.filename} cannot be read: {error}. Check the disk.") from error
    return rows


def as_numbers(octets: Array, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
    """The numbers of `dtype` in `shape` that the bytes uint8 [n] are, where they lie.

    They are copied only if they begin at an address that is no multiple of their size, as in no file that is written
    today: neither kernels nor torch take such arrays.
    """
    numbers = octets.view(dtype).reshape(shape)
    return numbers if numbers.flags.aligned else numbers.copy()
