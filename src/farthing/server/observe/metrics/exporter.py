"""The metrics of one application, and the text of /metrics.

In: finished requests and what the models' workers observe, which are counted as they come, and a function that reads
the state of the rest when asked. Each application has its own registry. Labels are routes of the application and names
of its models, never what a client made up. Metrics that count every request or batch are looked up by their labels once
and kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from farthing.server.observe.metrics import catalogue
from farthing.server.observe.metrics.models import ServerState, StateCollector

if TYPE_CHECKING:
    from farthing.server.http.request_record import Exchange

VERSION = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}")


class Metrics:
    """The metrics of one application; `in_flight` is a gauge of the requests that have no answer yet."""

    def __init__(self, read_state: Callable[[], ServerState]) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(StateCollector(read_state))
        ProcessCollector(registry=registry)
        self.in_flight = catalogue.IN_FLIGHT.gauge(registry)
        self._requests = catalogue.REQUESTS.counter(registry)
        self._seconds = catalogue.REQUEST_SECONDS.histogram(registry)
        self._stages = catalogue.STAGE_SECONDS.histogram(registry)
        self._texts = catalogue.ANSWERED_TEXTS.counter(registry)
        self._tokens = catalogue.ANSWERED_TOKENS.counter(registry)
        self._of_batches = tuple(
            metric.histogram(registry)
            for metric in (
                catalogue.QUEUE_WAIT_SECONDS,
                catalogue.BATCH_TEXTS,
                catalogue.BATCH_TOKENS,
                catalogue.BATCH_DURATION_SECONDS,
            )
        )
        self._by_request: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._by_stage: dict[str, Histogram] = {}

    def count(self, exchange: Exchange) -> None:
        """Count a request that was answered."""
        key = exchange.route, exchange.status
        found = self._by_request.get(key)
        if found is None:
            route, status = key
            found = self._by_request[key] = self._requests.labels(route, status), self._seconds.labels(route)
        requests, seconds = found
        requests.inc()
        seconds.observe(exchange.seconds)
        for stage in exchange.stages:
            of_stage = self._by_stage.get(stage.name)
            if of_stage is None:
                of_stage = self._by_stage[stage.name] = self._stages.labels(stage.name)
            of_stage.observe(stage.ended_s - stage.started_s)
        if exchange.num_texts:
            self._texts.inc(exchange.num_texts)
            self._tokens.inc(exchange.num_tokens)

    def observer(self, model: str) -> BatchObserver:
        """Return the object to which a model's worker tells of its batches."""
        return BatchObserver(*(histogram.labels(model) for histogram in self._of_batches))

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format that an Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(",".join(filter(has_version, accept.split(","))))
        return encode(self._registry), content_type


def has_version(accepted: str) -> bool:
    """Return whether an accepted media type has no version, or a numeric one. `choose_encoder` fails on others."""
    parameters = [part.strip().partition("=") for part in accepted.split(";")]
    return all(VERSION.fullmatch(value) for name, _, value in parameters if name == "version")


class BatchObserver:
    """A `farthing.serving.stats.Observer` that fills histograms; safe from any thread."""

    def __init__(self, waits: Histogram, texts: Histogram, tokens: Histogram, seconds: Histogram) -> None:
        self._waits, self._texts, self._tokens, self._seconds = waits, texts, tokens, seconds

    def queue_wait_s(self, seconds: float) -> None:
        self._waits.observe(seconds)

    def batch(self, num_texts: int, num_tokens: int, seconds: float) -> None:
        self._texts.observe(num_texts)
        self._tokens.observe(num_tokens)
        self._seconds.observe(seconds)
