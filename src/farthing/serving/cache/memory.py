"""The level in this process: the entries that were used least recently go first.

In: entries and a budget in bytes, which may shrink at any time. Out: entries. It is safe from any thread, and nothing
waits. The ordered dictionary is our own, because libraries keep two or three dictionaries for each entry, and the
budget is to be spent on vectors.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from farthing.serving.cache.store import MemoryStats

# What an entry takes beside its bytes: two bytes objects with what the allocator rounds up, and its place in an ordered
# dictionary (tests/unit/serving/cache/test_memory_level.py compares it with what a process grows by).
OVERHEAD_BYTES = 240


class MemoryLevel:
    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = self._limit_bytes = budget_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()
        self._num_bytes = self._num_hits = self._num_misses = self._num_evictions = 0

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The entries of these keys that are there."""
        entries, found = self._entries, {}
        num_misses = 0
        with self._lock:
            for key in keys:
                entry = entries.get(key)
                if entry is None:
                    num_misses += 1
                else:
                    entries.move_to_end(key)
                    found[key] = entry
            self._num_hits += len(found)
            self._num_misses += num_misses
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        with self._lock:
            for key, entry in entries.items():
                before = self._entries.pop(key, None)
                if before is not None:
                    self._num_bytes -= size(before)
                self._entries[key] = entry
                self._num_bytes += size(entry)
                self._make_room()

    def trim(self, divisor: int) -> None:
        """Hold no more than the budget divided by `divisor` from now on; 1 gives all of it back."""
        with self._lock:
            self._limit_bytes = self._budget_bytes // divisor
            self._make_room()

    def stats(self) -> MemoryStats:
        with self._lock:
            return MemoryStats(
                hits_total=self._num_hits,
                misses_total=self._num_misses,
                evictions_total=self._num_evictions,
                entries=len(self._entries),
                held_bytes=self._num_bytes,
                limit_bytes=self._limit_bytes,
            )

    def _make_room(self) -> None:
        while self._num_bytes > self._limit_bytes:
            _, entry = self._entries.popitem(last=False)
            self._num_bytes -= size(entry)
            self._num_evictions += 1


def size(entry: bytes) -> int:
    return len(entry) + OVERHEAD_BYTES
