"""Giving freed memory back to the system."""

from __future__ import annotations

import ctypes
import functools
import gc
import time
from collections.abc import Callable

from farthing.core.collector import looks_at_little

# The time between trims after batches. Walking the heap takes some milliseconds, and pages that are used again have to
# be mapped again.
TRIM_INTERVAL_S = 10.0
# The growth of the process after which its heap is trimmed, whether batches are run or not.
TRIM_GROWTH_BYTES = 64 * 2**20


def trim_heap() -> None:
    """Return free heap pages to the system (glibc); do nothing where the allocator has no such call.

    Converting weights frees many buffers of some megabytes, which glibc keeps: without this the peak while loading a
    model was 10% over its size.
    """
    trim = glibc_trim()
    if trim is not None:
        trim(0)


class Trimmer:
    """Trims the heap now and then: between batches, and when the process has grown.

    glibc keeps freed buffers of up to 32 MiB in its heaps, between smaller ones that are in use. With batches of all
    sizes these heaps grew for as long as was measured, to twice the memory in use (docs/log.md).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_s = clock() + TRIM_INTERVAL_S
        self._least_bytes: int | None = None

    def watch(self, held_bytes: int) -> None:
        """Trim the heap if the process, which holds `held_bytes` now, has grown. Called regularly.

        Requests that are refused make no batch. What their bodies took stays in the heap, or in cycles of errors and
        frames, which the collector hardly ever looks for in a server (`farthing.core.collector`).
        """
        self._least_bytes = held_bytes if self._least_bytes is None else min(held_bytes, self._least_bytes)
        if held_bytes - self._least_bytes >= TRIM_GROWTH_BYTES:
            if looks_at_little():
                gc.collect()
            trim_heap()
            self._least_bytes = None  # the next reading says what is in use then

    def after_batch(self) -> None:
        if self._clock() >= self._due_s:
            trim_heap()
            self._due_s = self._clock() + TRIM_INTERVAL_S


@functools.cache
def glibc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # a static build, or Windows
        return None
    return trim
