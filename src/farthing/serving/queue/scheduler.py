"""The queue in front of the device: texts of open requests, handed out as batches of bounded tokens.

A request is admitted once (`open`), then submits jobs from any thread and gets a future for each; the worker takes
batches. A batch grows while the one before it runs and is closed only when the worker asks for it, so that requests
which arrive meanwhile ride along. Texts of different requests and lengths mix freely, since nothing is padded.
Interactive requests go before bulk ones, short ones before long ones, and a share of every batch belongs to the
longest-waiting request of each lane, so that nobody waits for ever (`farthing.serving.queue.lane`). The size of a batch
is the number of tokens that are computed for it (`farthing.serving.queue.token_counter`). Where the next text in order
does not fit, the room that is left goes first to texts further back that share tokens with the batch, and then to any
texts that fit.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from farthing.core.deferred import dataclass
from farthing.core.errors import ClosedError, FarthingError, InputError, QueueFullError
from farthing.serving.queue.admission import QueueLimits, Throughput, check_room
from farthing.serving.queue.batch import Batch, Filling, Job
from farthing.serving.queue.estimates import Size, Speed
from farthing.serving.queue.lane import Flow, Lanes
from farthing.serving.queue.token_counter import TokenCounter
from farthing.serving.request import Urgency
from farthing.serving.stats import NoObserver, Observer, QueueStats


@dataclass(frozen=True)
class BatchLimits:
    """The limits of a batch; `max_tokens` bounds the tokens that are computed for it."""

    max_tokens: int
    max_texts: int


class OpenJob(NamedTuple):
    flow: Flow
    submitted_s: float


class Scheduler:
    """The queue. `new_counter` makes the counter of a batch's tokens; `clock` measures the speed of the lanes.

    Attributes:
        speed: speed of full batches; the worker notes it.
        observer: is told how long texts waited.
    """

    def __init__(
        self,
        limits: BatchLimits,
        new_counter: Callable[[], TokenCounter] = TokenCounter,
        queue: QueueLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._queue, self._clock = limits, queue or QueueLimits(), clock
        self._new_counter = new_counter
        self._max_tokens = limits.max_tokens  # may go down for a while
        self._lanes = Lanes(self._queue.bulk_share)
        self._open: dict[Job, OpenJob] = {}  # not answered yet, waiting or running
        self._refusal: FarthingError | None = None
        self._changed = threading.Condition()
        self._worker_waits = self._caller_runs = False
        self._failure: BaseException | None = None  # of a caller's batch, which the worker raises
        self._num_admitted = self._num_refused = self._num_expired = self._num_waits = 0
        self._waited_s = 0.0
        self.speed = Speed()
        self.observer: Observer = NoObserver()

    @property
    def num_waiting_texts(self) -> int:
        with self._changed:
            return self._lanes.waiting.num_texts

    @property
    def max_tokens(self) -> int:
        """The token budget of the next batch."""
        return self._max_tokens

    def limit_tokens(self, max_tokens: int) -> None:
        """Set the token budget of the next batches, up to the limit that was set at first."""
        self._max_tokens = min(max_tokens, self._limits.max_tokens)

    def stats(self) -> QueueStats:
        speed = self.speed.tokens_per_s
        with self._changed:
            waiting, bulk = self._lanes.waiting, self._lanes["bulk"].waiting
            return QueueStats(
                waiting_texts=waiting.num_texts,
                waiting_tokens=waiting.num_tokens,
                waiting_bulk_texts=bulk.num_texts,
                waiting_bulk_tokens=bulk.num_tokens,
                expected_wait_s=self._lanes.expected_wait_s("interactive", speed),
                expected_bulk_wait_s=self._lanes.expected_wait_s("bulk", speed),
                tokens_per_s=speed or 0.0,
                admitted_requests_total=self._num_admitted,
                refused_requests_total=self._num_refused,
                expired_requests_total=self._num_expired,
                queue_waits_total=self._num_waits,
                queue_wait_seconds_total=self._waited_s,
            )

    @contextmanager
    def open(self, urgency: Urgency, size: Size, *, limited: bool = True) -> Iterator[Flow]:
        """Hold a place in the queue for a request of about that size, as long as the context lasts.

        The request's jobs must be done, failed or cancelled by the end. `limited` says whether the queue's limits
        apply.

        Raises:
            InputError: the request is too large for the queue.
            QueueFullError: more would wait than allowed, or for longer.
            FarthingError: no work is taken; it says why (closed, worker died).
        """
        flow = self._admit(urgency, size, limited)
        try:
            yield flow
        except BaseException:
            with self._changed:
                self._num_expired += urgency.is_over(time.monotonic())
            raise
        finally:
            with self._changed:
                self._lanes[urgency.lane].remove(flow)

    def submit(self, job: Job | None, flow: Flow, num_inputs: int, *, may_run: bool = False) -> Batch | None:
        """Queue the job of the next `num_inputs` texts of a request; it is None when none of them has to be computed.

        Cancelling the job's future takes the job out of the queue again. With `may_run`, a caller who would only wait
        is given the batch to run where nobody else is served or waits: handing it to the worker's thread and back takes
        as long as computing a short text. The caller then calls `give_back`.

        Raises:
            DeadlineError: the request's time is over.
            QueueFullError: the request's turn should have come by now.
            FarthingError: no work is taken; it says why (closed, worker died).
        """
        now_s = time.monotonic()
        if flow.urgency.is_over(now_s):
            raise flow.urgency.error()
        with self._changed:
            self._check_open()
            if flow.is_late(self._clock()):
                self._num_refused += 1
                raise self._queue.late_error()
            flow.came(num_inputs)
            if job is None:
                return None
            self._open[job] = OpenJob(flow, now_s)
            is_busy = self._caller_runs or self._lanes.has_waiting or self._failure is not None
            is_free = may_run and self._worker_waits and not is_busy
            flow.add(job)
            batch = None
            try:
                batch = self._fill() if is_free else None
            except Exception as error:  # noqa: BLE001 - the worker raises it
                self._failure = error
            if batch is None:
                self._changed.notify()
            else:
                self._caller_runs = True
        # The future keeps its callback. If that held the job itself, the job, the future and all tokens would stay
        # until the next collection of cycles. As long as the job is open, `_open` holds it.
        waiting = weakref.ref(job)
        job.future.add_done_callback(lambda _: self._drop(waiting()))
        if batch is not None:
            self._note_waits(batch)
        return batch

    def give_back(self, failure: BaseException | None = None) -> None:
        """Say that a batch from `submit` has been run. `take` raises the failure, if there was one."""
        with self._changed:
            self._caller_runs, self._failure = False, failure or self._failure
            self._changed.notify()

    def take(self) -> Batch | None:
        """Wait for work and return the next batch; None when the queue is closed and nothing is left.

        Raises what a caller failed with who ran a batch.
        """
        while True:
            with self._changed:
                while self._caller_runs or not self._lanes.has_waiting:
                    if not self._caller_runs:
                        self._raise_failure()
                        if isinstance(self._refusal, ClosedError):
                            return None
                    self._worker_waits = True
                    self._changed.wait()
                    self._worker_waits = False
                self._raise_failure()
                expired = self._expire()
                batch = self._fill()
            for job, error in expired:  # outside the lock: a failed future calls _drop
                job.fail(error)
            if batch is not None:
                self._note_waits(batch)
                return batch

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def put_back(self, job: Job) -> None:
        """Make a job that was taken begin again, before all others of its lane."""
        with self._changed:
            if job not in self._open:
                return
            job.restart()
            self._open[job].flow.add_again(job)
            self._changed.notify()

    def refuse(self, error: FarthingError, *, drop_open: bool) -> None:
        """Answer every further job with `error`; with `drop_open` also all jobs that have no answer yet."""
        with self._changed:
            self._refusal = error
            dropped = list(self._open) if drop_open else []
            self._changed.notify_all()
        for job in dropped:
            job.fail(error)

    def accept(self) -> None:
        """Take work again after `refuse`, unless the queue is closed."""
        with self._changed:
            if not isinstance(self._refusal, ClosedError):
                self._refusal = None

    def _admit(self, urgency: Urgency, size: Size, limited: bool) -> Flow:
        with self._changed:
            self._check_open()
            lane = self._lanes[urgency.lane]
            if limited:
                try:
                    earlier = self._lanes.before(urgency.lane)
                    throughput = Throughput(self.speed.tokens_per_s, self._limits.max_tokens, self._clock())
                    check_room(self._queue, lane, earlier, size, throughput)
                except (QueueFullError, InputError):
                    self._num_refused += 1
                    raise
            now_s = self._clock()
            flow = Flow(urgency, size, now_s + self._queue.late_s if limited else math.inf)
            lane.add(flow, now_s)
            self._num_admitted += 1
            return flow

    def _check_open(self) -> None:
        if self._refusal is not None:
            raise type(self._refusal)(str(self._refusal))  # a new one: a shared one would gather tracebacks

    def _expire(self) -> list[tuple[Job, FarthingError]]:
        """Take out the texts of requests whose time is over or whose turn is late; return the jobs and their errors."""
        now_s, clock_s = time.monotonic(), self._clock()
        expired: list[tuple[Job, FarthingError]] = []
        for flow in self._lanes.flows():
            if not flow.waiting:
                continue
            if flow.urgency.is_over(now_s):
                expired += [(job, flow.urgency.error()) for job in flow.clear()]
            elif flow.is_late(clock_s):
                self._num_refused += 1
                expired += [(job, self._queue.late_error()) for job in flow.clear()]
        return expired

    def _fill(self) -> Batch | None:
        """The next batch, or None when nothing waits."""
        filling = Filling(self._new_counter(), self._max_tokens, self._limits.max_texts)
        left_some = self._lanes.fill(filling, self._max_tokens, self._clock())
        return Batch.of(filling.taken, self._new_counter, is_full=left_some) if filling.taken else None

    def _note_waits(self, batch: Batch) -> None:
        now_s = time.monotonic()
        for share in batch.shares:
            job = self._open.get(share.job)
            if job is not None:
                seconds = now_s - job.submitted_s
                self._num_waits += 1
                self._waited_s += seconds
                self.observer.queue_wait_s(seconds)

    def _drop(self, job: Job | None) -> None:
        """Take what is left of a finished job, which most often was cancelled, out of the queue."""
        if job is None:
            return
        with self._changed:
            found = self._open.pop(job, None)
            if found is not None:
                found.flow.drop(job)
