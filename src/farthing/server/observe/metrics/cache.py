"""Metrics of the cache of vectors.

In: what it counts. Out: metric families.
"""

from __future__ import annotations

from collections.abc import Iterator

from farthing.server.observe.metrics import catalogue
from farthing.server.observe.metrics.metric import Family
from farthing.serving.cache.stats import CacheStats, StoreStats


def cache_families(stats: CacheStats) -> Iterator[Family]:
    """Of the level in memory, and of the store behind it where there is one."""
    memory, store = stats.memory, stats.store
    hits = {"memory": memory.hits_total} | ({store.name: store.hits_total} if store else {})
    misses = {"memory": memory.misses_total} | ({store.name: store.misses_total} if store else {})
    yield catalogue.CACHE_HITS.family(((level,), count) for level, count in hits.items())
    yield catalogue.CACHE_MISSES.family(((level,), count) for level, count in misses.items())
    yield catalogue.CACHE_ENTRIES.family([((), memory.entries)])
    yield catalogue.CACHE_BYTES.family([((), memory.held_bytes)])
    yield catalogue.CACHE_LIMIT_BYTES.family([((), memory.limit_bytes)])
    yield catalogue.CACHE_EVICTIONS.family([((), memory.evictions_total)])
    if store is not None:
        yield from store_families(store)


def store_families(store: StoreStats) -> Iterator[Family]:
    level = (store.name,)
    yield catalogue.CACHE_ERRORS.family([(level, store.errors_total)])
    yield catalogue.CACHE_REFUSED.family([(level, store.refused_total)])
    yield catalogue.CACHE_DROPPED_WRITES.family([(level, store.dropped_writes_total)])
    yield catalogue.CACHE_STORE_UP.family([(level, store.is_asked)])
