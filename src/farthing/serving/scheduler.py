"""The queue in front of the device: texts in order of arrival, handed out as batches of bounded tokens.

Callers submit jobs from any thread and get a future; the worker takes batches. A batch grows while the one before it
runs and is closed only when the worker asks for it, so that whoever arrives meanwhile rides along. The longest-waiting
text goes first; texts of different jobs and lengths mix freely, since nothing is padded. A batch is counted by the
tokens that are computed for it (`farthing.serving.token_counter`). Where the next text in order does not fit, the room
that is left goes to texts further back that share tokens with those in the batch.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from farthing.core.errors import ClosedError, FarthingError, QueueFullError
from farthing.models.token_key import TOKEN_BYTES
from farthing.serving.batch import Batch
from farthing.serving.job import Job
from farthing.serving.token_counter import TokenCounter

# Texts passed over in search of some that fit: bounds the time that a batch takes to fill, however many wait.
LOOK_AHEAD_TEXTS = 1024


@dataclass(frozen=True)
class BatchLimits:
    """`max_tokens` bounds the tokens that are computed for a batch."""

    max_tokens: int
    max_texts: int
    max_waiting_texts: int


class Scheduler:
    """`new_counter` makes what a batch's tokens are counted with."""

    def __init__(self, limits: BatchLimits, new_counter: Callable[[], TokenCounter] = TokenCounter) -> None:
        self._limits = limits
        self._new_counter = new_counter
        self._max_tokens = limits.max_tokens  # may go down for a while
        self._waiting: OrderedDict[tuple[Job, int], None] = OrderedDict()  # texts by job and index, in order
        self._open: set[Job] = set()  # not answered yet, waiting or running
        self._refusal: FarthingError | None = None
        self._changed = threading.Condition()

    @property
    def num_waiting_texts(self) -> int:
        return len(self._waiting)

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
            if len(self._waiting) + len(job.texts) > self._limits.max_waiting_texts:
                raise QueueFullError(
                    f"{len(self._waiting)} texts are waiting and {len(job.texts)} more would exceed the limit of "
                    f"{self._limits.max_waiting_texts} (max_queue_texts). Try again later."
                )
            self._open.add(job)
            self._waiting.update(dict.fromkeys((job, index) for index in range(len(job.texts))))
            self._changed.notify()
        job.future.add_done_callback(lambda _: self._drop(job))

    def take(self) -> Batch | None:
        """The next batch; waits for work. None when closed and nothing is left."""
        with self._changed:
            while not self._waiting:
                if isinstance(self._refusal, ClosedError):
                    return None
                self._changed.wait()
            return Batch.of(self._fill(), self._new_counter)

    def put_back(self, job: Job) -> None:
        """Have a job that was taken begin again, before all others."""
        with self._changed:
            if job not in self._open:
                return
            job.restart()
            for index in reversed(range(len(job.texts))):
                self._waiting[job, index] = None
                self._waiting.move_to_end((job, index), last=False)
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

    def _fill(self) -> list[tuple[Job, int]]:
        """Take texts in order while they fit, then those that share and fit; a text over the budget goes alone."""
        counter, left = self._new_counter(), self._max_tokens
        taken: list[tuple[Job, int]] = []
        num_passed = 0
        for text in self._waiting:
            if len(taken) == self._limits.max_texts or num_passed > LOOK_AHEAD_TEXTS:
                break
            job, index = text
            key = job.keys[index]
            num_tokens = len(key) // TOKEN_BYTES
            most = num_tokens if not taken else left if not num_passed else min(left, num_tokens - 1)
            num_added = counter.add(key, most)
            if num_added is None:
                num_passed += 1
            else:
                left -= num_added
                taken.append(text)
        for text in taken:
            del self._waiting[text]
        return taken

    def _drop(self, job: Job) -> None:
        """Take what is left of a finished (mostly: cancelled) job out of the queue."""
        with self._changed:
            self._open.discard(job)
            for index in range(len(job.texts)):
                self._waiting.pop((job, index), None)
