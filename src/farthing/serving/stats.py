"""Counters of the serving core, as plain numbers; exporting them is the server's business.

An `Observer` is told how long texts waited and batches ran while it happens; the counters are read later.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, Protocol

from farthing.core.deferred import dataclass


@dataclass(frozen=True)
class QueueStats:
    """The state of the queue; totals only ever grow.

    Attributes:
        waiting_texts, waiting_tokens: texts and tokens in the queue, in both lanes.
        waiting_bulk_texts, waiting_bulk_tokens: the part of them that is in the bulk lane.
        expected_wait_s: seconds until all of the interactive lane is computed; 0 while the speed is not known.
        expected_bulk_wait_s: seconds until all of the bulk lane is computed, at the speed that it was seen to get.
        tokens_per_s: present speed of full batches, each text with all of its tokens; 0 while it is not known.
        expired_requests_total: requests whose time was over before they were finished.
        queue_waits_total, queue_wait_seconds_total: waits of parts of requests, each from its submission to its batch.
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
    """A snapshot; the counters that do not concern the queue only ever grow.

    Attributes:
        tokens_total: tokens of the texts that were computed, each text with all of its tokens.
        computed_tokens_total: tokens that went through the model.
        saved_tokens_total: tokens that did not, because other texts, of this batch or an earlier one, have them too.
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
    """The sum of the counters of several models."""
    found = list(stats)
    return ServingStats(**{item.name: sum(getattr(one, item.name) for one in found) for item in fields(ServingStats)})


def totals(stats: ServingStats) -> ServingStats:
    """What remains of the counters of a model that is gone, where nothing waits any more."""
    gauges = (item.name for item in fields(ServingStats) if not item.name.endswith("_total"))
    return replace(stats, **dict.fromkeys(gauges, 0))


class StatsCounter:
    """The running totals; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, Any] = vars(ServingStats()).copy()

    def add(self, **increments: float) -> None:
        with self._lock:
            for name, value in increments.items():
                self._totals[name] += value

    def snapshot(self, queue: QueueStats) -> ServingStats:
        with self._lock:
            return ServingStats(**{**self._totals, **vars(queue)})


@dataclass(frozen=True)
class Health:
    """Whether a model can answer; `reason` is empty when it is ready."""

    ready: bool
    reason: str = ""


class Observer(Protocol):
    """Called from the worker's thread, once for each job's share and once for each batch.

    It must be quick and must not raise.
    """

    def queue_wait_s(self, seconds: float) -> None:
        """Note that a text was taken into a batch after that many seconds."""
        ...

    def batch(self, num_texts: int, num_tokens: int, seconds: float) -> None:
        """Note that a forward pass over that many texts and computed tokens ended well."""
        ...


class NoObserver:
    """An observer that does nothing."""

    def queue_wait_s(self, seconds: float) -> None:
        pass

    def batch(self, num_texts: int, num_tokens: int, seconds: float) -> None:
        pass
