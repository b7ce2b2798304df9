"""A queue for tests, in which requests stay open."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from farthing.engine.runner import BatchOutput
from farthing.models.batch.forest import batch_forest
from farthing.serving.queue.batch import Batch, Job
from farthing.serving.queue.estimates import Size
from farthing.serving.queue.lane import Flow
from farthing.serving.queue.scheduler import Scheduler
from farthing.serving.request import LaneName, Urgency

numbers = itertools.count()


def job(*lengths: int) -> Job:
    """Of texts that share nothing."""
    return Job([[next(numbers)] * length for length in lengths])


class Queue(Scheduler):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._kept = ExitStack()

    def admit(self, size: Size, lane: LaneName = "interactive", *, timeout_s: float | None = None) -> Flow:
        """A request that stays open."""
        return self._kept.enter_context(self.open(Urgency(lane, timeout_s), size))

    def put(self, *jobs: Job, lane: LaneName = "interactive", timeout_s: float | None = None) -> Flow:
        """A request of these jobs."""
        texts = [text for one in jobs for text in one.texts]
        flow = self.admit(Size(len(texts), sum(map(len, texts))), lane, timeout_s=timeout_s)
        for one in jobs:
            self.submit(one, flow, len(one.texts))
        return flow


def lengths(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [len(text) for text in batch.texts]


def run(batch: Batch | None) -> None:
    """Answer every text with its own length."""
    assert batch is not None
    rows = np.array([[len(text)] for text in batch.texts], dtype=np.float32)
    batch.deliver(BatchOutput(rows, {}, 0, "weights", (1,) * len(rows)))


def computed(batch: Sequence[list[int]]) -> int:
    """What the engine makes of it."""
    return sum(batch_forest(batch).computed())
