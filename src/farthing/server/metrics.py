"""Prometheus metrics: requests as they are answered, and the serving core's counters read when asked.

In: finished requests, and the service whose `ServingStats` are exported. Out: the text of /metrics. Each application
has its own registry. Labels are routes of the application, never paths that a client made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import Scope

from farthing.server.cache_metrics import CacheCollector, ReadCache
from farthing.serving.stats import ServingStats

if TYPE_CHECKING:
    from farthing.serving.governor import MemoryState

Family = CounterMetricFamily | GaugeMetricFamily
ReadMemory = Callable[[], "MemoryState | None"]

# From a cached single text to a large batch on a small machine.
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

COUNTERS = {
    "texts_total": ("farthing_texts", "Texts computed."),
    "tokens_total": (
        "farthing_tokens",
        "Tokens of computed texts, those that were saved too.",
    ),
    "computed_tokens_total": ("farthing_computed_tokens", "Tokens that went through the model."),
    "saved_tokens_total": ("farthing_saved_tokens", "Tokens not computed, because other texts have them too."),
    "batches_total": ("farthing_batches", "Forward passes."),
    "batch_seconds_total": ("farthing_batch_seconds", "Seconds spent in forward passes."),
    "failed_batches_total": ("farthing_failed_batches", "Forward passes that raised."),
    "out_of_memory_batches_total": ("farthing_out_of_memory_batches", "Forward passes that found too little memory."),
    "recomputed_texts_total": ("farthing_recomputed_texts", "Texts computed again in fp32."),
    "worker_deaths_total": ("farthing_worker_deaths", "Deaths of the thread on the device."),
}


class StatsCollector(Collector):
    """`read_stats` and `read_memory` give None until the model is loaded, or where nobody watches the memory."""

    def __init__(self, read_stats: Callable[[], ServingStats | None], read_memory: ReadMemory) -> None:
        self._read_stats, self._read_memory = read_stats, read_memory

    def collect(self) -> Iterator[Family]:
        stats = self._read_stats()
        if stats is None:
            return
        yield GaugeMetricFamily("farthing_waiting_texts", "Texts in the queue.", value=stats.waiting_texts)
        for field, (name, help_text) in COUNTERS.items():
            yield CounterMetricFamily(name, help_text, value=getattr(stats, field))
        memory = self._read_memory()
        if memory is not None:
            yield from memory_families(memory)


def memory_families(memory: MemoryState) -> Iterator[Family]:
    yield GaugeMetricFamily("farthing_memory_step", "Steps taken to save memory at the moment.", value=memory.step)
    steps = CounterMetricFamily("farthing_memory_steps", "Steps taken to save memory, and back.", labels=["direction"])
    steps.add_metric(["down"], memory.steps_down_total)
    steps.add_metric(["up"], memory.steps_up_total)
    yield steps
    used = GaugeMetricFamily("farthing_memory_used_bytes", "Memory held, by place.", labels=["place"])
    limit = GaugeMetricFamily("farthing_memory_limit_bytes", "Memory that could be held, by place.", labels=["place"])
    for reading in memory.readings:
        used.add_metric([reading.place], reading.used_bytes)
        limit.add_metric([reading.place], reading.limit_bytes)
    yield from (used, limit)


class Metrics:
    def __init__(
        self,
        read_stats: Callable[[], ServingStats | None],
        read_memory: ReadMemory = lambda: None,
        read_cache: ReadCache = lambda: None,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StatsCollector(read_stats, read_memory))
        self._registry.register(CacheCollector(read_cache))
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "farthing_http_requests", "Answered requests.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "farthing_http_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ["route"],
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that an Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
