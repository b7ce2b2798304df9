"""What the cache of vectors counts, for Prometheus.

In: a function that reads `CacheStats`. Out: metric families, made when they are asked for; none without a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from farthing.serving.cache.stats import CacheStats, StoreStats

Family = CounterMetricFamily | GaugeMetricFamily
ReadCache = Callable[[], CacheStats | None]


class CacheCollector(Collector):
    """`read_cache` gives None where nothing is kept."""

    def __init__(self, read_cache: ReadCache) -> None:
        self._read_cache = read_cache

    def collect(self) -> Iterator[Family]:
        stats = self._read_cache()
        if stats is None:
            return
        memory, store = stats.memory, stats.store
        hits = CounterMetricFamily("farthing_cache_hits", "Texts found in the cache, by level.", labels=["level"])
        misses = CounterMetricFamily("farthing_cache_misses", "Texts looked for in vain, by level.", labels=["level"])
        hits.add_metric(["memory"], memory.hits_total)
        misses.add_metric(["memory"], memory.misses_total)
        if store is not None:
            hits.add_metric([store.name], store.hits_total)
            misses.add_metric([store.name], store.misses_total)
        yield from (hits, misses)
        yield GaugeMetricFamily("farthing_cache_entries", "Texts held in memory.", value=memory.entries)
        yield GaugeMetricFamily("farthing_cache_bytes", "Memory held for them.", value=memory.held_bytes)
        yield GaugeMetricFamily("farthing_cache_limit_bytes", "The most of it.", value=memory.limit_bytes)
        yield CounterMetricFamily("farthing_cache_evictions", "Texts that made room.", value=memory.evictions_total)
        if store is not None:
            yield from store_families(store)


def store_families(store: StoreStats) -> Iterator[Family]:
    counters = {
        "errors": ("Questions and writes to the store that failed or took too long.", store.errors_total),
        "refused": ("Texts under whose key the store held something else.", store.refused_total),
        "dropped_writes": ("Texts not written, because the store was away or too slow.", store.dropped_writes_total),
    }
    for name, (help_text, value) in counters.items():
        family = CounterMetricFamily(f"farthing_cache_{name}", help_text, labels=["level"])
        family.add_metric([store.name], value)
        yield family
    asked = GaugeMetricFamily(
        "farthing_cache_store_up", "0 while the store is left alone after failures.", labels=["level"]
    )
    asked.add_metric([store.name], store.is_asked)
    yield asked
