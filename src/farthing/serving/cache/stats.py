"""Counters of the cache, as plain numbers; exporting them is the server's business."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryStats:
    """Of the level in this process. Texts, but for bytes; totals only ever grow."""

    hits_total: int
    misses_total: int
    evictions_total: int
    entries: int
    held_bytes: int
    limit_bytes: int


@dataclass(frozen=True)
class StoreStats:
    """Of the store that others share.

    Attributes:
        hits_total, misses_total: texts that it was asked for.
        refused_total: texts under whose key something else than our entry was found.
        errors_total: requests and writes that failed or took too long.
        dropped_writes_total: texts that were not written, because it was away or too slow.
        is_asked: false while it is left alone after failures.
    """

    name: str
    hits_total: int
    misses_total: int
    refused_total: int
    errors_total: int
    dropped_writes_total: int
    is_asked: bool


@dataclass(frozen=True)
class CacheStats:
    memory: MemoryStats
    store: StoreStats | None
