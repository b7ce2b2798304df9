"""Giving freed memory back to the system, and knowing when there was none."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable

import torch

# What torch's allocator for the host says, in a RuntimeError (c10/core/impl/alloc_cpu.cpp).
HOST_ALLOCATOR = ("can't allocate memory", "not enough memory")


M_MMAP_THRESHOLD = -3  # malloc.h
LARGE_BYTES = 2**20


@functools.cache
def keep_no_large_buffers() -> None:
    """Have glibc give every large buffer pages of its own, which go back when it is freed.

    glibc begins so, but raises the limit to 32 MiB as such buffers are freed; from then on those of batches of all
    sizes lie between smaller ones in the heap, which grew for as long as was measured (docs/log.md). Where the
    environment sets the limit, it counts.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    try:
        set_option: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    except (OSError, TypeError):  # a static build, or Windows
        return
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, LARGE_BYTES)


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
