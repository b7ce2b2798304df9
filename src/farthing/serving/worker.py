"""The thread that runs batches on the device, one at a time.

It takes batches from the scheduler, runs them, and hands back rows. While it has nothing to do, a caller who would only
wait for a short text runs it himself (`run_for_caller`). A batch that runs out of memory is run in halves.
When a batch raises an error, only the jobs that raise one when run alone fail. If the thread itself dies, every
unanswered job fails with `WorkerDiedError`, health says so, and a new thread begins after a pause, or not, by setting.
Nobody is left waiting.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from farthing.core.errors import BatchFailedError, ClosedError, EngineError, OutOfMemoryError, WorkerDiedError
from farthing.engine.runner import BatchOutput
from farthing.serving.queue.batch import Batch
from farthing.serving.queue.estimates import counted_tokens
from farthing.serving.queue.scheduler import Scheduler
from farthing.serving.queue.token_budget import TokenBudget
from farthing.serving.stats import Health, NoObserver, Observer, StatsCounter

logger = logging.getLogger(__name__)


class BatchRunner(Protocol):
    def run(self, texts: Sequence[Sequence[int]], per_token: bool = False) -> BatchOutput: ...


class Worker:
    """Runs the scheduler's batches on a thread of its own, which starts when the worker is made.

    Args:
        restart: whether to start a new thread after one died.
        restart_pause_s: seconds before that, in which health is down and work is refused.

    Attributes:
        observer: is told of every batch.
    """

    def __init__(
        self,
        runner: BatchRunner,
        scheduler: Scheduler,
        stats: StatsCounter,
        budget: TokenBudget,
        *,
        restart: bool = True,
        restart_pause_s: float = 1.0,
    ) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._stats = stats
        self._budget = budget
        self._restart = restart
        self._restart_pause_s = restart_pause_s
        self._closing = threading.Event()
        self.observer: Observer = NoObserver()
        self._health = Health(ready=True)
        self._thread = threading.Thread(target=self._live, name="farthing-worker", daemon=True)
        self._thread.start()

    @property
    def health(self) -> Health:
        return self._health

    def close(self) -> None:
        """Finish what was accepted, refuse the rest, and end the thread."""
        self._closing.set()
        self._scheduler.refuse(ClosedError("This embedder was closed."), drop_open=False)
        self._thread.join()
        self._health = Health(ready=False, reason="closed")
        # Only a worker that died for good leaves jobs behind.
        self._scheduler.refuse(ClosedError("This embedder was closed."), drop_open=True)

    def run_for_caller(self, batch: Batch) -> None:
        """Run a batch on the thread of the caller that the scheduler gave it to.

        Whatever kills it kills the worker, as if its own thread had run it; only Ctrl-C is the caller's.
        """
        failure: BaseException | None = None
        try:
            for part in batch.by_kind():
                self._run(part)
        except KeyboardInterrupt:
            batch.fail(BatchFailedError("The caller was interrupted."))
            raise
        except BaseException as error:  # noqa: BLE001 - the worker raises it
            failure = error
        finally:
            self._scheduler.give_back(failure)

    def _live(self) -> None:
        """Work until closed. After a death, recover and work again, or stop for good."""
        while True:
            try:
                self._work()
                return
            except BaseException as error:  # noqa: BLE001 - whatever it was, the callers must get an answer
                self._bury(error)
            if not self._restart or self._closing.wait(self._restart_pause_s):
                return
            self._health = Health(ready=True)
            self._scheduler.accept()
            logger.warning("The worker was restarted.")

    def _bury(self, error: BaseException) -> None:
        logger.critical("The worker died: %r", error, exc_info=error)
        self._stats.add(worker_deaths_total=1)
        died = WorkerDiedError(
            f"The worker thread died ({type(error).__name__}). Send the request again; the log has the details."
        )
        died.__cause__ = error
        # Operators read the health; callers only get the kind of error, since its words may hold somebody's data.
        self._health = Health(ready=False, reason=f"The worker thread died ({type(error).__name__}: {error}).")
        self._scheduler.refuse(died, drop_open=True)

    def _work(self) -> None:
        while True:
            batch = self._scheduler.take()
            if batch is None:
                return
            for part in batch.by_kind():
                self._run(part)

    def _run(self, batch: Batch) -> None:
        """Run a batch; if it raises an error, run each job's share alone: one text must not fail its neighbours."""
        started = time.perf_counter()
        batch.begin(started)
        texts = batch.texts
        try:
            output = self._runner.run(texts, batch.per_token)
        except OutOfMemoryError as error:
            self._run_in_halves(batch, error)
            return
        except Exception as error:
            logger.exception("A batch of %d texts of %d requests failed", len(texts), len(batch.shares))
            self._stats.add(failed_batches_total=1)
            if len(batch.shares) == 1:
                batch.fail(typed(error))
                return
            for part in batch.by_job():
                self._run(part)
            return
        seconds = time.perf_counter() - started
        num_tokens, num_computed = sum(map(len, texts)), sum(output.computed)
        self._stats.add(
            batches_total=1,
            texts_total=len(texts),
            tokens_total=num_tokens,
            computed_tokens_total=num_computed,
            saved_tokens_total=num_tokens - num_computed,
            batch_seconds_total=seconds,
            recomputed_texts_total=output.num_recomputed,
        )
        if batch.is_full:
            self._scheduler.speed.note(counted_tokens(num_tokens, num_computed), seconds)
        self.observer.batch(len(texts), num_computed, seconds)
        self._budget.note_success()
        for job in batch.deliver(output):
            self._scheduler.put_back(job)

    def _run_in_halves(self, batch: Batch, error: OutOfMemoryError) -> None:
        """Run a batch again after it ran out of memory; only a text that does not fit alone fails."""
        self._stats.add(out_of_memory_batches_total=1)
        halves = batch.halves()
        if halves is None:
            batch.fail(error)
            return
        self._budget.halve(batch.num_tokens)
        for half in halves:
            self._run(half)


def typed(error: Exception) -> EngineError:
    """The error itself if it is one of ours, else one that names only its kind: its words may hold a user's data."""
    if isinstance(error, EngineError):
        return error
    failure = BatchFailedError(f"The forward pass failed ({type(error).__name__}). The log has the details.")
    failure.__cause__ = error
    return failure
