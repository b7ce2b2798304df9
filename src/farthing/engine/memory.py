"""Giving freed memory back to the system."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def trim_heap() -> None:
    """Return free heap pages to the system (glibc); nothing where the allocator has no such call.

    Converting weights frees many buffers of some megabytes, which glibc keeps: without this the peak while loading a
    model was 10% over its size.
    """
    trim = glibc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def glibc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # a static build, or Windows
        return None
    return trim
