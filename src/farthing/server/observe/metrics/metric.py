"""The definition of a metric: name, meaning, labels. The exporter and docs/metrics.md are made from definitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from farthing.core.deferred import dataclass

Family = CounterMetricFamily | GaugeMetricFamily
Sample = tuple[tuple[str, ...], float]  # the values of the labels, and the value of the metric


@dataclass(frozen=True)
class Metric:
    """The definition of a metric.

    Attributes:
        name: as /metrics shows it; a counter's name ends with `_total`.
        buckets: the upper bounds of a histogram.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def family(self, samples: Iterable[Sample]) -> Family:
        """Return this metric with numbers that were kept elsewhere."""
        assert self.kind != "histogram"
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = kind(self.name, self.help, labels=self.labels)
        for labels, value in samples:
            family.add_metric(labels, value)
        return family

    def counter(self, registry: CollectorRegistry) -> Counter:
        """Return a counter, which starts at 0."""
        assert self.kind == "counter"
        return Counter(self.name, self.help, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        assert self.kind == "gauge"
        return Gauge(self.name, self.help, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        assert self.kind == "histogram"
        return Histogram(self.name, self.help, self.labels, registry=registry, buckets=self.buckets)
