"""What the worker runs at once: texts of one or many jobs.

In: the texts that the scheduler took. Out: every job's rows or errors, and smaller batches where one failed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from farthing.core.errors import FarthingError
from farthing.engine.runner import BatchOutput
from farthing.models.token_key import TOKEN_BYTES
from farthing.serving.queue.job import Job
from farthing.serving.queue.token_counter import TokenCounter


@dataclass(frozen=True)
class Share:
    """The texts of a job that ride in a batch, by index."""

    job: Job
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """
    Attributes:
        new_counter: makes what its tokens are counted with.
        is_full: other texts had to wait for the next one.
    """

    shares: tuple[Share, ...]
    new_counter: Callable[[], TokenCounter]
    is_full: bool = False

    @classmethod
    def of(
        cls, texts: Iterable[tuple[Job, int]], new_counter: Callable[[], TokenCounter], *, is_full: bool = False
    ) -> Batch:
        """Of jobs' texts by index, those of one job side by side."""
        indices: dict[Job, list[int]] = {}
        for job, index in texts:
            indices.setdefault(job, []).append(index)
        return cls(tuple(Share(job, tuple(found)) for job, found in indices.items()), new_counter, is_full)

    @property
    def texts(self) -> list[list[int]]:
        return [job.texts[index] for job, index in self._places()]

    @property
    def num_tokens(self) -> int:
        """Tokens that are computed for it."""
        return sum(self._added())

    @property
    def per_token(self) -> bool:
        """Whether its jobs want a row of every token; of a batch of one kind (`by_kind`)."""
        return self.shares[0].job.per_token

    def begin(self, now_s: float) -> None:
        """It runs from now, a `time.perf_counter`, on."""
        for share in self.shares:
            share.job.begin(now_s)

    def deliver(self, output: BatchOutput) -> list[Job]:
        """Hand every job its rows; a text without a vector fails its own job only.

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
        """A batch for each job's share."""
        return [Batch((share,), self.new_counter) for share in self.shares]

    def by_kind(self) -> list[Batch]:
        """A batch of the jobs that want a row a text and one of those that want a row a token, or itself.

        Neither computes more tokens than the whole, since what texts share is shared in each.
        """
        kinds = {share.job.per_token for share in self.shares}
        if len(kinds) == 1:
            return [self]
        parts = [tuple(share for share in self.shares if share.job.per_token is kind) for kind in (False, True)]
        return [Batch(part, self.new_counter) for part in parts]

    def halves(self) -> tuple[Batch, Batch] | None:
        """The batch in two, of about as many computed tokens each.

        None of a single text, or many identical ones: they are computed once, so that no part would be smaller.
        """
        places = list(self._places())
        if len({job.keys[index] for job, index in places}) == 1:
            return None
        ends = list(itertools.accumulate(self._added()))

        def imbalance(count: int) -> tuple[int, int]:
            return abs(2 * ends[count - 1] - ends[-1]), abs(2 * count - len(places))

        middle = min(range(1, len(places)), key=imbalance)
        return Batch.of(places[:middle], self.new_counter), Batch.of(places[middle:], self.new_counter)

    def _places(self) -> Iterable[tuple[Job, int]]:
        return ((share.job, index) for share in self.shares for index in share.indices)

    def _added(self) -> Iterable[int]:
        """Tokens that each text adds to those of the texts before it."""
        counter = self.new_counter()
        for job, index in self._places():
            key = job.keys[index]
            num_added = counter.add(key, most=len(key) // TOKEN_BYTES)
            assert num_added is not None, "no text adds more than its own tokens"
            yield num_added
