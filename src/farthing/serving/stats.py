"""Counters of the serving core, as plain numbers; exporting them is the server's business.

Who is told how long texts waited and batches ran, while it happens; counters that are read later are in
`farthing.serving.stats`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Protocol


@dataclass(frozen=True)
class QueueStats:
    """What is told of the queue; totals only ever grow.

    Attributes:
        waiting_texts, waiting_tokens: in the queue, of both lanes.
        waiting_bulk_texts, waiting_bulk_tokens: those of them in the bulk lane.
        expected_wait_s: until all of the interactive lane is computed; 0 while the speed is not known.
        expected_bulk_wait_s: until all of the bulk lane is, at the speed that it was seen to get.
        tokens_per_s: present speed of full batches, each text with all of its tokens; 0 while not known.
        expired_requests_total: whose time was over before they were finished.
        queue_waits_total, queue_wait_seconds_total: of parts of requests, each from its submission to its batch.
    """

    waiting_texts: int = 0
    waiting_tokens: int = 0
    waiting_bulk_texts: int = 0
    waiting_bulk_tokens: int = 0
    expected_wait_s: float = 0.0
    expected_bulk_wait_s: float = 0.0
    tokens_per_s: float = 0.0
    admitted_requests_total: int = 0
    refused_requests_total: int = 0
    expired_requests_total: int = 0
    queue_waits_total: int = 0
    queue_wait_seconds_total: float = 0.0


@dataclass(frozen=True)
class ServingStats(QueueStats):
    """A snapshot; what does not concern the queue only ever grows.

    Attributes:
        tokens_total: of the texts that were computed, each text with all of its tokens.
        computed_tokens_total: that went through the model.
        saved_tokens_total: that did not, because other texts, of this batch or an earlier one, have them too.
    """

    texts_total: int = 0
    tokens_total: int = 0
    computed_tokens_total: int = 0
    saved_tokens_total: int = 0
    batches_total: int = 0
    batch_seconds_total: float = 0.0
    failed_batches_total: int = 0
    out_of_memory_batches_total: int = 0
    recomputed_texts_total: int = 0
    worker_deaths_total: int = 0


def in_all(stats: Iterable[ServingStats]) -> ServingStats:
    """The counters of several models added up."""
    found = list(stats)
    return ServingStats(**{item.name: sum(getattr(one, item.name) for one in found) for item in fields(ServingStats)})


def totals(stats: ServingStats) -> ServingStats:
    """What remains of the counters of a model that is gone: nothing waits there any more."""
    gauges = (item.name for item in fields(ServingStats) if not item.name.endswith("_total"))
    return replace(stats, **dict.fromkeys(gauges, 0))


class StatsCounter:
    """The running totals; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = ServingStats()

    def add(self, **increments: float) -> None:
        with self._lock:
            self._totals = replace(
                self._totals, **{name: getattr(self._totals, name) + value for name, value in increments.items()}
            )

    def snapshot(self, queue: QueueStats) -> ServingStats:
        with self._lock:
            return replace(self._totals, **vars(queue))


@dataclass(frozen=True)
class Health:
    """`reason` is empty when ready."""

    ready: bool
    reason: str = ""


class Observer(Protocol):
    """Called from the worker's thread, once a job's share and once a batch: it must be quick and must not raise."""

    def queue_wait_s(self, seconds: float) -> None:
        """A text was taken into a batch after so long."""
        ...

    def batch(self, num_texts: int, num_tokens: int, seconds: float) -> None:
        """A forward pass over so many texts and computed tokens ended well."""
        ...


class NoObserver:
    """Is told and does nothing."""

    def queue_wait_s(self, seconds: float) -> None:
        pass

    def batch(self, num_texts: int, num_tokens: int, seconds: float) -> None:
        pass
