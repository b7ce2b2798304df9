"""Pages of a mapped file: read ahead before they are needed, given back when they were used.

In: CPU tensors that lie in a mapped file. Nothing is copied and no value changes; where the system has no madvise
(Windows) nothing is done, so that pages stay resident until the system wants them back.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable

import torch

Advise = Callable[[int, int, int], int]


def read_ahead(tensor: torch.Tensor) -> None:
    """Have the system read the tensor's bytes into the page cache; returns before they are there."""
    start = tensor.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    advise(start, tensor.data_ptr() + tensor.nbytes, "MADV_WILLNEED")


def let_go(tensor: torch.Tensor) -> None:
    """Take the tensor's pages out of this process's memory; what is read again comes from the page cache or the disk.

    Only for tensors in a mapped file that nobody writes to: other memory would be lost. Pages that it shares with its
    neighbours stay.
    """
    start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    advise(start, end, "MADV_DONTNEED")


def advise(start: int, end: int, advice: str) -> None:
    call = system_call()
    if call is not None and start < end:
        # Only advice: should the system refuse it, the pages are read when they are touched, and stay.
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
