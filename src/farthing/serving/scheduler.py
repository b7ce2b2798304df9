"""The queue in front of the device: jobs in order of arrival, handed out as batches of bounded tokens.

Callers submit jobs from any thread and get a future; the worker takes batches. A batch grows while the one before it
runs and is closed only when the worker asks for it, so that whoever arrives meanwhile rides along. The
longest-waiting text goes first; texts of different jobs and lengths mix freely, since nothing is padded.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from farthing.core.errors import ClosedError, FarthingError, QueueFullError
from farthing.engine.runner import BatchOutput


@dataclass(frozen=True)
class Rows:
    """float32 [texts, hidden], all of the weights with that fingerprint."""

    rows: np.ndarray
    fingerprint: str


class Job:
    """Texts that were submitted together; `future` resolves to their rows."""

    def __init__(self, texts: Sequence[list[int]]) -> None:
        assert texts
        self.texts = texts
        self.future: Future[Rows] = Future()
        self.num_taken = 0
        self._num_delivered = 0
        self._rows: np.ndarray | None = None
        self._fingerprint = ""

    @property
    def num_waiting(self) -> int:
        return len(self.texts) - self.num_taken

    def deliver(self, start: int, rows: np.ndarray, fingerprint: str) -> bool:
        """Rows of the texts from `start` on; the last delivery resolves the future.

        False when rows of other weights came before: then the job has to begin again (`restart`).
        """
        if self._fingerprint not in ("", fingerprint):
            return False
        self._fingerprint = fingerprint
        if self._rows is None:
            self._rows = np.empty((len(self.texts), rows.shape[1]), dtype=np.float32)
        self._rows[start : start + len(rows)] = rows
        self._num_delivered += len(rows)
        if self._num_delivered == len(self.texts):
            with suppress(InvalidStateError):  # cancelled or failed while this batch ran: nobody waits for it
                self.future.set_result(Rows(self._rows, fingerprint))
        return True

    def restart(self) -> None:
        """Forget what was delivered; every text waits again."""
        self.num_taken = self._num_delivered = 0
        self._fingerprint = ""

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

    def deliver(self, output: BatchOutput) -> list[Job]:
        """Hand every job its rows; a text without a vector fails its own job only.

        Returns the jobs that must begin again, because the weights changed while they were under way.
        """
        offset, outdated = 0, []
        for share in self.shares:
            end = offset + share.stop - share.start
            error = next((output.errors[index] for index in range(offset, end) if index in output.errors), None)
            if error is not None:
                share.job.fail(error)
            elif not share.job.deliver(share.start, output.rows[offset:end], output.fingerprint):
                outdated.append(share.job)
            offset = end
        return outdated

    def fail(self, error: FarthingError) -> None:
        for share in self.shares:
            share.job.fail(error)

    def halves(self) -> tuple[Batch, Batch] | None:
        """The batch in two, of about as many tokens each; None of a single text."""
        texts = [(share.job, index) for share in self.shares for index in range(share.start, share.stop)]
        if len(texts) == 1:
            return None
        ends = list(itertools.accumulate(len(job.texts[index]) for job, index in texts))
        middle = min(range(1, len(texts)), key=lambda count: abs(2 * ends[count - 1] - ends[-1]))
        return Batch.of(texts[:middle]), Batch.of(texts[middle:])

    @classmethod
    def of(cls, texts: Sequence[tuple[Job, int]]) -> Batch:
        """Of jobs' texts by index, those of one job side by side and in order."""
        groups = ([index for _, index in group] for _, group in itertools.groupby(texts, key=lambda text: text[0]))
        jobs = dict.fromkeys(job for job, _ in texts)
        return cls(tuple(Share(job, found[0], found[-1] + 1) for job, found in zip(jobs, groups, strict=True)))


@dataclass(frozen=True)
class BatchLimits:
    max_tokens: int
    max_texts: int
    max_waiting_texts: int


class Scheduler:
    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._max_tokens = limits.max_tokens  # may go down for a while
        self._jobs: deque[Job] = deque()  # with texts that wait
        self._open: set[Job] = set()  # not answered yet, waiting or running
        self._num_waiting = 0
        self._refusal: FarthingError | None = None
        self._changed = threading.Condition()

    @property
    def num_waiting_texts(self) -> int:
        return self._num_waiting

    @property
    def max_tokens(self) -> int:
        """Token budget of the next batch."""
        return self._max_tokens

    def limit_tokens(self, max_tokens: int) -> None:
        """Make batches smaller than the limit that was set at first, or as large again."""
        self._max_tokens = min(max_tokens, self._limits.max_tokens)

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

    def put_back(self, job: Job) -> None:
        """Have a job that was taken begin again, before all others."""
        with self._changed:
            if job not in self._open:
                return
            if job.num_waiting == 0:
                self._jobs.appendleft(job)
            self._num_waiting += job.num_taken
            job.restart()
            self._changed.notify()

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
                if num_texts and num_tokens + length > self._max_tokens:
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
