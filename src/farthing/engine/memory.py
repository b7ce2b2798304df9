"""Giving freed memory back to the system, and knowing when there was none."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import torch

# What torch's allocator for the host says, in a RuntimeError (c10/core/impl/alloc_cpu.cpp).
HOST_ALLOCATOR = ("can't allocate memory", "not enough memory")


def trim_heap() -> None:
    """Return free heap pages to the system (glibc); nothing where the allocator has no such call.

    Converting weights frees many buffers of some megabytes, which glibc keeps: without this the peak while loading a
    model was 10% over its size.
    """
    trim = glibc_trim()
    if trim is not None:
        trim(0)


def release_cached() -> None:
    """Give back what allocators keep for later, on the host and on cards."""
    trim_heap()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in HOST_ALLOCATOR)


@functools.cache
def glibc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # a static build, or Windows
        return None
    return trim
