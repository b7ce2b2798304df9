"""The queue in front of the device: jobs in order of arrival, handed out as batches of bounded tokens.

Callers submit jobs from any thread and get a future; the worker takes batches. A batch grows while the one before it
runs and is closed only when the worker asks for it, so that whoever arrives meanwhile rides along. The
longest-waiting text goes first; texts of different jobs and lengths mix freely, since nothing is padded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass

import numpy as np

from farthing.core.errors import ClosedError, FarthingError, QueueFullError
from farthing.engine.runner import BatchOutput


class Job:
    """Texts that were submitted together; `future` resolves to their rows, float32 [texts, hidden]."""

    def __init__(self, texts: Sequence[list[int]]) -> None:
        assert texts
        self.texts = texts
        self.future: Future[np.ndarray] = Future()
        self.num_taken = 0
        self._num_delivered = 0
        self._rows: np.ndarray | None = None

    @property
    def num_waiting(self) -> int:
        return len(self.texts) - self.num_taken

    def deliver(self, start: int, rows: np.ndarray) -> None:
        """Rows of the texts from `start` on; the last delivery resolves the future."""
        if self._rows is None:
            self._rows = np.empty((len(self.texts), rows.shape[1]), dtype=np.float32)
        self._rows[start : start + len(rows)] = rows
        self._num_delivered += len(rows)
        if self._num_delivered == len(self.texts):
            try:
                self.future.set_result(self._rows)
            except InvalidStateError:
                return  # cancelled or failed while this batch ran: nobody waits for it

    def fail(self, error: FarthingError) -> None:
        try:
            self.future.set_exception(error)
        except InvalidStateError:
            return  # already cancelled, failed or done: the caller has an answer


@dataclass(frozen=True)
class Share:
    """The part of a job that rides in a batch: texts `start` to `stop`."""

    job: Job
    start: int
    stop: int


@dataclass(frozen=True)
class Batch:
    shares: tuple[Share, ...]

    @property
    def texts(self) -> list[list[int]]:
        return [text for share in self.shares for text in share.job.texts[share.start : share.stop]]

    def deliver(self, output: BatchOutput) -> None:
        """Hand every job its rows; a text without a vector fails its own job only."""
        offset = 0
        for share in self.shares:
            end = offset + share.stop - share.start
            error = next((output.errors[index] for index in range(offset, end) if index in output.errors), None)
            if error is None:
                share.job.deliver(share.start, output.rows[offset:end])
            else:
                share.job.fail(error)
            offset = end

    def fail(self, error: FarthingError) -> None:
        for share in self.shares:
            share.job.fail(error)


@dataclass(frozen=True)
class BatchLimits:
    max_tokens: int
    max_texts: int
    max_waiting_texts: int


class Scheduler:
    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._jobs: deque[Job] = deque()  # with texts that wait
        self._open: set[Job] = set()  # not answered yet, waiting or running
        self._num_waiting = 0
        self._refusal: FarthingError | None = None
        self._changed = threading.Condition()

    @property
    def num_waiting_texts(self) -> int:
        return self._num_waiting

    def submit(self, job: Job) -> None:
        """Queue a job. Cancelling its future takes it out again.

        Raises:
            QueueFullError: more texts would wait than allowed.
            FarthingError: why no work is taken (closed, worker died).
        """
        with self._changed:
            if self._refusal is not None:
                raise type(self._refusal)(str(self._refusal))  # a new one: a shared one would gather tracebacks
            if self._num_waiting + len(job.texts) > self._limits.max_waiting_texts:
                raise QueueFullError(
                    f"{self._num_waiting} texts are waiting and {len(job.texts)} more would exceed the limit of "
                    f"{self._limits.max_waiting_texts} (max_queue_texts). Try again later."
                )
            self._jobs.append(job)
            self._open.add(job)
            self._num_waiting += len(job.texts)
            self._changed.notify()
        job.future.add_done_callback(lambda _: self._drop(job))

    def take(self) -> Batch | None:
        """The next batch; waits for work. None when closed and nothing is left."""
        with self._changed:
            while not self._jobs:
                if isinstance(self._refusal, ClosedError):
                    return None
                self._changed.wait()
            return Batch(tuple(self._fill()))

    def refuse(self, error: FarthingError, *, drop_open: bool) -> None:
        """Answer every further job with `error`, and with `drop_open` all that have no answer yet."""
        with self._changed:
            self._refusal = error
            dropped = list(self._open) if drop_open else []
            self._changed.notify_all()
        for job in dropped:  # outside the lock: a failed future calls _drop
            job.fail(error)

    def accept(self) -> None:
        """Take work again after `refuse`."""
        with self._changed:
            if not isinstance(self._refusal, ClosedError):
                self._refusal = None

    def _fill(self) -> Iterator[Share]:
        """Take texts from the front while they fit; a text over the budget goes alone."""
        num_tokens = num_texts = 0
        while self._jobs:
            job = self._jobs[0]
            start = stop = job.num_taken
            while stop < len(job.texts) and num_texts < self._limits.max_texts:
                length = len(job.texts[stop])
                if num_texts and num_tokens + length > self._limits.max_tokens:
                    break
                num_tokens, num_texts, stop = num_tokens + length, num_texts + 1, stop + 1
            if stop > start:
                job.num_taken = stop
                self._num_waiting -= stop - start
                yield Share(job, start, stop)
            if stop < len(job.texts):
                return
            self._jobs.popleft()

    def _drop(self, job: Job) -> None:
        """Take what is left of a finished (mostly: cancelled) job out of the queue."""
        with self._changed:
            self._open.discard(job)
            if job.num_waiting and job in self._jobs:
                self._jobs.remove(job)
                self._num_waiting -= job.num_waiting
