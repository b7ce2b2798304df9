"""Pages of mapped files: read ahead before they are needed (`read_ahead`), and given back after use (`let_go`).

Nothing is copied and no value changes. Where the system has no madvise (Windows) nothing is done, so that pages stay
resident until the system wants them back.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable

from farthing.core.arrays import Array

Advise = Callable[[int, int, int], int]


def read_ahead(array: Array) -> None:
    """Have the system read the array's bytes into the page cache; returns before they are there."""
    first = array.ctypes.data
    advise(first // mmap.PAGESIZE * mmap.PAGESIZE, first + array.nbytes, "MADV_WILLNEED")


def let_go(array: Array) -> None:
    """Take the array's pages out of this process's memory; later reads come from the page cache or the disk.

    This is only for arrays in a mapped file that nobody writes to: other memory would be lost. Pages that the array
    shares with its neighbours stay.
    """
    first = array.ctypes.data
    start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
    advise(start, (first + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE, "MADV_DONTNEED")


def advise(start: int, end: int, advice: str) -> None:
    call = system_call()
    if call is not None and start < end:
        # This is only advice: should the system refuse it, the pages are read when they are touched, and stay.
        call(start, end - start, getattr(mmap, advice))


@functools.cache
def system_call() -> Advise | None:
    """The C library's madvise (https://man7.org/linux/man-pages/man2/madvise.2.html)."""
    if not hasattr(mmap, "MADV_DONTNEED"):
        return None
    call = ctypes.CDLL(None).madvise
    call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    found: Advise = call
    return found
