"""Jobs on their way through the queue, and the batches that the worker runs.

A job takes token ids in and gives a future for their rows. Its texts may be computed in any order and in several
batches; all its rows are made by the same weights.

A batch holds texts of one or many jobs. In: the texts that the scheduler took. Out: every job's rows or errors, and
smaller batches where one failed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.errors import FarthingError
from farthing.engine.runner import BatchOutput
from farthing.models.batch.token_key import token_key
from farthing.serving.queue.token_counter import TokenCounter

# Texts that are passed over in search of some that fit. It bounds the time to fill a batch, however many texts wait.
LOOK_AHEAD_TEXTS = 1024


@dataclass(frozen=True)
class JobRows:
    """
    Attributes:
        rows: float32 [texts, hidden], or ragged as in `BatchOutput`.
        fingerprint: fingerprint of the weights that made all of the rows.
        num_computed_tokens: tokens that were computed for the rows; tokens that texts of a batch share count for only
            one of them.
        queue_s: seconds from when the job was made until its first batch began.
        compute_s: seconds from then until its last batch ended.
    """

    rows: np.ndarray
    fingerprint: str
    num_computed_tokens: int
    queue_s: float = 0.0
    compute_s: float = 0.0


class Job:
    """Texts that were submitted together; `future` resolves to their rows.

    Making a job takes time for every token (`keys`), which neither a lock nor an event loop should wait for.

    Attributes:
        keys: the `token_key` of each text; `lengths` are their numbers of tokens.
        per_token: whether a row of every token is wanted instead of one of every text.
    """

    def __init__(self, texts: Sequence[list[int]], *, per_token: bool = False) -> None:
        assert texts
        self.texts, self.per_token = texts, per_token
        self.keys, self.lengths = [token_key(text) for text in texts], list(map(len, texts))
        self.future: Future[JobRows] = Future()
        self._missing = set(range(len(texts)))
        self._computed = [0] * len(texts)
        self._rows: np.ndarray | None = None
        self._fingerprint = ""
        self._made_s = time.perf_counter()
        self._begun_s: float | None = None

    def begin(self, now_s: float) -> None:
        """Note that a batch with texts of this job begins, by `time.perf_counter`; only the first batch counts."""
        if self._begun_s is None:
            self._begun_s = now_s

    def deliver(self, indices: Sequence[int], rows: np.ndarray, computed: Sequence[int], fingerprint: str) -> bool:
        """Take rows of the texts `indices` and the tokens computed for each; the last missing row resolves the future.

        Returns False when earlier rows were made by other weights: then the job has to begin again (`restart`).
        """
        if self._fingerprint not in ("", fingerprint):
            return False
        self._fingerprint = fingerprint
        if len(indices) == len(self.texts) and list(indices) == sorted(indices):  # all of them, as they lie
            self._rows = rows
        else:
            if self._rows is None:
                self._rows = np.empty((len(self.texts), *rows.shape[1:]), dtype=rows.dtype)
            self._rows[list(indices)] = rows
        for index, num_tokens in zip(indices, computed, strict=True):
            self._computed[index] = num_tokens
        self._missing.difference_update(indices)
        if not self._missing:
            with suppress(InvalidStateError):  # cancelled or failed while this batch ran: nobody waits for it
                self.future.set_result(JobRows(self._rows, fingerprint, sum(self._computed), *self._times()))
        return True

    def _times(self) -> tuple[float, float]:
        """The seconds before and since the first batch began."""
        now_s = time.perf_counter()
        begun_s = now_s if self._begun_s is None else self._begun_s
        return begun_s - self._made_s, now_s - begun_s

    def restart(self) -> None:
        """Forget the rows that were delivered."""
        self._missing = set(range(len(self.texts)))
        self._fingerprint = ""

    def fail(self, error: FarthingError) -> None:
        try:
            self.future.set_exception(error)
        except InvalidStateError:
            return  # already cancelled, failed or done: the caller has an answer


class QueuedText(NamedTuple):
    """A text in the queue: the job that it belongs to, and its place there."""

    job: Job
    place: int


@dataclass(frozen=True)
class Share:
    """The texts of one job that are in a batch, by index."""

    job: Job
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """Texts that the worker runs at once.

    Attributes:
        new_counter: makes the counter of the batch's tokens.
        is_full: whether other texts had to wait for the next batch.
    """

    shares: tuple[Share, ...]
    new_counter: Callable[[], TokenCounter]
    is_full: bool = False

    @classmethod
    def of(
        cls, texts: Iterable[QueuedText], new_counter: Callable[[], TokenCounter], *, is_full: bool = False
    ) -> Batch:
        """Make a batch of texts; those of one job are put side by side."""
        indices: dict[Job, list[int]] = {}
        for job, index in texts:
            indices.setdefault(job, []).append(index)
        return cls(tuple(Share(job, tuple(found)) for job, found in indices.items()), new_counter, is_full)

    @property
    def texts(self) -> list[list[int]]:
        return [share.job.texts[index] for share in self.shares for index in share.indices]

    @property
    def num_tokens(self) -> int:
        """The number of tokens that are computed for the batch."""
        return sum(self._added())

    @property
    def per_token(self) -> bool:
        """Whether the jobs want a row of every token. It is for batches of one kind (`by_kind`)."""
        return self.shares[0].job.per_token

    def begin(self, now_s: float) -> None:
        """Note that the batch runs from `now_s` on, by `time.perf_counter`."""
        for share in self.shares:
            share.job.begin(now_s)

    def deliver(self, output: BatchOutput) -> list[Job]:
        """Hand every job its rows; a text without a vector fails only its own job.

        Returns the jobs that must begin again, because the weights changed while they were under way.
        """
        offset, outdated = 0, []
        for share in self.shares:
            part = slice(offset, offset + len(share.indices))
            failed = [index for index in range(part.start, part.stop) if index in output.errors]
            if failed:
                share.job.fail(output.errors[failed[0]])
            elif not share.job.deliver(share.indices, output.rows[part], output.computed[part], output.fingerprint):
                outdated.append(share.job)
            offset = part.stop
        return outdated

    def fail(self, error: FarthingError) -> None:
        for share in self.shares:
            share.job.fail(error)

    def by_job(self) -> list[Batch]:
        """One batch for each job's share."""
        return [Batch((share,), self.new_counter) for share in self.shares]

    def by_kind(self) -> list[Batch]:
        """One batch of jobs that want a row a text and one of jobs that want a row a token, or only this batch itself.

        Neither of the two computes more tokens than the whole, since tokens that texts share are shared in each.
        """
        kinds = {share.job.per_token for share in self.shares}
        if len(kinds) == 1:
            return [self]
        parts = [tuple(share for share in self.shares if share.job.per_token is kind) for kind in (False, True)]
        return [Batch(part, self.new_counter) for part in parts]

    def halves(self) -> tuple[Batch, Batch] | None:
        """The batch in two parts with about as many computed tokens each.

        Returns None for a single text or many identical ones: they are computed once, so that no part would be smaller.
        """
        texts = list(self._queued())
        if len({text.job.keys[text.place] for text in texts}) == 1:
            return None
        ends = list(itertools.accumulate(self._added()))

        def imbalance(count: int) -> tuple[int, int]:
            return abs(2 * ends[count - 1] - ends[-1]), abs(2 * count - len(texts))

        middle = min(range(1, len(texts)), key=imbalance)
        return Batch.of(texts[:middle], self.new_counter), Batch.of(texts[middle:], self.new_counter)

    def _queued(self) -> Iterable[QueuedText]:
        return (QueuedText(share.job, index) for share in self.shares for index in share.indices)

    def _added(self) -> Iterable[int]:
        """The number of tokens that each text adds to those of the texts before it."""
        counter = self.new_counter()
        for job, index in self._queued():
            num_added = counter.add(job.keys[index], most=job.lengths[index])
            assert num_added is not None, "no text adds more than its own tokens"
            yield num_added


class Filling:
    """A batch while it is filled; `max_tokens` bounds its computed tokens, but a first text that has more goes alone.

    Attributes:
        taken: the batch's texts, in order.
    """

    def __init__(self, counter: TokenCounter, max_tokens: int, max_texts: int) -> None:
        self._counter, self._left, self._max_texts = counter, max_tokens, max_texts
        self._num_passed, self._takes_any = 0, False
        self.taken: list[QueuedText] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing more is taken in this round."""
        return len(self.taken) == self._max_texts or self._num_passed > LOOK_AHEAD_TEXTS

    def next_round(self) -> bool:
        """Begin a round that takes any texts that fit, and return True.

        Returns False where no such round is due: none was passed over, no room is left, or this is that round already.
        """
        if self._takes_any or not self._num_passed or self._left <= 0:
            return False
        self._num_passed, self._takes_any = 0, True
        return True

    def offer(self, text: QueuedText) -> int | None:
        """Take a text that fits. After the first text that did not fit, until the next round, only texts that share
        tokens with the batch are taken.

        Returns the number of tokens that are computed for the text, or None when it is not taken.
        """
        shares_only = self._num_passed > 0 and not self._takes_any
        added = self._add(text, most=text.job.lengths[text.place] - 1 if shares_only else None)
        self._num_passed += added is None
        return added

    def claim(self, text: QueuedText) -> int | None:
        """As `offer`, for texts that go before the order: when one does not fit, no other is taken in its place."""
        return None if self.is_over else self._add(text)

    def _add(self, text: QueuedText, most: int | None = None) -> int | None:
        """Take a text that adds no more than there is room for, and no more than `most`."""
        job, index = text
        room = self._left if self.taken else job.lengths[index]
        added = self._counter.add(job.keys[index], room if most is None else min(room, most))
        if added is not None:
            self._left -= added
            self.taken.append(text)
        return added
