"""Prometheus metrics: requests as they are answered, and the serving core's counters read when asked.

In: finished requests, and the service whose `ServingStats` are exported. Out: the text of /metrics. Each application
has its own registry. Labels are routes of the application, never paths that a client made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import Scope

from farthing.serving.stats import ServingStats

Family = CounterMetricFamily | GaugeMetricFamily

# From a cached single text to a large batch on a small machine.
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

COUNTERS = {
    "texts_total": ("farthing_texts", "Texts computed."),
    "tokens_total": ("farthing_tokens", "Tokens computed."),
    "batches_total": ("farthing_batches", "Forward passes."),
    "batch_seconds_total": ("farthing_batch_seconds", "Seconds spent in forward passes."),
    "failed_batches_total": ("farthing_failed_batches", "Forward passes that raised."),
    "recomputed_texts_total": ("farthing_recomputed_texts", "Texts computed again in fp32."),
    "worker_deaths_total": ("farthing_worker_deaths", "Deaths of the thread on the device."),
}


class StatsCollector(Collector):
    """`read_stats` gives None until the model is loaded."""

    def __init__(self, read_stats: Callable[[], ServingStats | None]) -> None:
        self._read_stats = read_stats

    def collect(self) -> Iterator[Family]:
        stats = self._read_stats()
        if stats is None:
            return
        yield GaugeMetricFamily("farthing_waiting_texts", "Texts in the queue.", value=stats.waiting_texts)
        for field, (name, help_text) in COUNTERS.items():
            yield CounterMetricFamily(name, help_text, value=getattr(stats, field))


class Metrics:
    def __init__(self, read_stats: Callable[[], ServingStats | None]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StatsCollector(read_stats))
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
