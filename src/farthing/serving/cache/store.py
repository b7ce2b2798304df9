"""What a store that others share has to do, whatever it is.

Its methods raise what its client raises, and take as long as its client takes: `farthing.serving.cache.remote` handles
both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from farthing.core.deferred import dataclass

# Seconds after which a client gives a connection up. A request has gone on long before (`cache_timeout_ms`).
GIVE_UP_S = 1.0
PREFIX = b"farthing:"


class CacheStore(Protocol):
    @property
    def name(self) -> str:
        """The store's name in metrics."""
        ...

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """One value, or None, for each key, in one round trip."""
        ...

    async def set(self, values: Mapping[bytes, bytes]) -> None: ...

    async def close(self) -> None: ...


def name_of(key: bytes) -> bytes:
    """The name that a key is stored under: letters that every store takes and people can look for."""
    return PREFIX + key.hex().encode()


@dataclass(frozen=True)
class MemoryStats:
    """Numbers of the level in this process. They count texts, except for the bytes; totals only ever grow."""

    hits_total: int
    misses_total: int
    evictions_total: int
    entries: int
    held_bytes: int
    limit_bytes: int


@dataclass(frozen=True)
class StoreStats:
    """Numbers of the store that others share.

    Attributes:
        hits_total, misses_total: texts that the store was asked for.
        refused_total: texts under whose key something other than our entry was found.
        errors_total: requests and writes that failed or took too long.
        dropped_writes_total: texts that were not written, because the store was away or too slow.
        is_asked: false while the store is left alone after failures.
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
