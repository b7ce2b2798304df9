"""Who is let in waits for about as long as is allowed at most; simulated, on a clock that only the batches move."""

from __future__ import annotations

import heapq
import random
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from queueing import Queue, job, run

from farthing.core.errors import QueueFullError
from farthing.serving.queue.admission import LATE, QueueLimits
from farthing.serving.queue.batch import Job
from farthing.serving.queue.estimates import Size
from farthing.serving.queue.lane import OLDEST_SHARE
from farthing.serving.queue.scheduler import BatchLimits
from farthing.serving.queue.token_counter import TokenCounter
from farthing.serving.request import LaneName, Urgency

BATCH_TOKENS, TOKENS_PER_S, MAX_WAIT_S, BULK_SHARE = 200, 100.0, 30.0, 0.2
PAUSE_S = 0.05  # of a client, between an answer and its next request


class Kind(NamedTuple):
    lane: LaneName
    num_texts: tuple[int, int]
    num_tokens: tuple[int, int]  # of a text


SINGLE = Kind("interactive", (1, 1), (1, 3))
SOME = Kind("interactive", (2, 32), (1, 3))
LONG = Kind("interactive", (2, 2), (24, 48))
BULK = Kind("bulk", (100, 100), (1, 3))


class Open(NamedTuple):
    kind: Kind
    job: Job
    since_s: float
    place: ExitStack  # in the queue


class Machine:
    """Clients that send one request after the other, and a queue that computes `TOKENS_PER_S`.

    Attributes:
        tokens_per_s: that are computed now.
        waits_s: of what was let in, by kind, until it was answered.
        num_late: of what was let in, requests that were refused after all.
    """

    def __init__(self, kinds: dict[Kind, float], num_clients: int) -> None:
        self.now_s, self.tokens_per_s = 0.0, TOKENS_PER_S
        self.num_late = 0
        self.waits_s: dict[Kind, list[float]] = {kind: [] for kind in kinds}
        self.num_refused = 0
        limits = QueueLimits(max_wait_s=MAX_WAIT_S, bulk_share=BULK_SHARE)
        self.queue = Queue(BatchLimits(BATCH_TOKENS, 1000), TokenCounter, limits, lambda: self.now_s)
        self._random, self._kinds = random.Random(0), kinds
        self._arrivals = [self._random.random() for _ in range(num_clients)]
        heapq.heapify(self._arrivals)
        self._open: list[Open] = []

    def run(self, until_s: float) -> None:
        while self.now_s < until_s:
            self._arrive(self.now_s)
            batch = self.queue.take() if self.queue.num_waiting_texts else None
            if batch is None:
                self.now_s = self._arrivals[0]
                continue
            seconds = batch.num_tokens / self.tokens_per_s
            end_s = self.now_s + seconds
            self._arrive(end_s)  # most come while a batch runs, when what it took no longer waits
            self.now_s = end_s
            run(batch)
            if batch.is_full:
                self.queue.speed.note(batch.num_tokens, seconds)
            self._answer()

    def _arrive(self, until_s: float) -> None:
        while self._arrivals and self._arrivals[0] <= until_s:
            self.now_s = max(self.now_s, heapq.heappop(self._arrivals))
            self._send(self._random.choices(list(self._kinds), list(self._kinds.values()))[0])

    def _send(self, kind: Kind) -> None:
        lengths = [self._random.randint(*kind.num_tokens) for _ in range(self._random.randint(*kind.num_texts))]
        place = ExitStack()
        try:
            flow = place.enter_context(self.queue.open(Urgency(kind.lane), Size(len(lengths), sum(lengths))))
        except QueueFullError:
            self.num_refused += 1
            self._pause()
            return
        sent = job(*lengths)
        self.queue.submit(sent, flow, len(lengths))
        self._open.append(Open(kind, sent, self.now_s, place))

    def _answer(self) -> None:
        for one in [one for one in self._open if one.job.future.done()]:
            self._open.remove(one)
            one.place.close()
            self.num_late += one.job.future.exception() is not None
            self.waits_s[one.kind].append(self.now_s - one.since_s)
            self._pause()

    def _pause(self) -> None:
        heapq.heappush(self._arrivals, self.now_s + PAUSE_S * (1 + self._random.random()))

    def longest_s(self, kind: Kind) -> float:
        """Of those that still wait, too."""
        return max(*self.waits_s[kind], *(self.now_s - one.since_s for one in self._open if one.kind is kind), 0.0)


@pytest.mark.parametrize("num_clients", [20, 60])
def test_bulk_requests_that_are_let_in_beside_a_flood_are_answered_in_time(num_clients: int) -> None:
    machine = Machine({SINGLE: 0.5, SOME: 0.3, BULK: 0.2}, num_clients)
    machine.run(150)
    assert len(machine.waits_s[BULK]) > 10
    assert machine.num_refused
    # Its turn comes within the limit; then its own 200 tokens take 10 s at the lane's share.
    assert machine.longest_s(BULK) <= 1.5 * MAX_WAIT_S + 10
    assert machine.longest_s(SINGLE) < 6


def test_long_requests_that_small_ones_keep_passing_are_answered_in_time() -> None:
    machine = Machine({SINGLE: 0.6, SOME: 0.35, LONG: 0.05}, 80)
    machine.run(150)
    late = [wait_s for kind in (SOME, LONG) for wait_s in machine.waits_s[kind] if wait_s > 1.5 * MAX_WAIT_S]
    assert len(late) < 0.03 * sum(map(len, machine.waits_s.values()))
    assert machine.longest_s(SINGLE) < 6


def test_nobody_waits_for_much_longer_than_allowed_when_the_machine_becomes_slower() -> None:
    machine = Machine({SINGLE: 0.5, SOME: 0.3, BULK: 0.2}, 60)
    machine.tokens_per_s = 20 * TOKENS_PER_S
    machine.run(60)
    machine.tokens_per_s = TOKENS_PER_S
    machine.run(250)
    assert machine.num_late
    batch_s = BATCH_TOKENS / TOKENS_PER_S
    assert machine.longest_s(BULK) <= LATE * MAX_WAIT_S + 10 + 2 * batch_s  # 10 s: as above


def loaded_queue(now_s: list[float]) -> Queue:
    limits = QueueLimits(max_wait_s=MAX_WAIT_S, bulk_share=BULK_SHARE)
    queue = Queue(BatchLimits(BATCH_TOKENS, 1000), TokenCounter, limits, lambda: now_s[0])
    queue.speed.note(BATCH_TOKENS, BATCH_TOKENS / TOKENS_PER_S)
    return queue


def compute(queue: Queue, now_s: list[float], num_batches: int) -> None:
    for _ in range(num_batches):
        run(queue.take())
        now_s[0] += BATCH_TOKENS / TOKENS_PER_S


def test_a_small_bulk_request_behind_a_huge_one_is_not_refused_while_nothing_else_comes() -> None:
    now_s = [0.0]
    queue = loaded_queue(now_s)
    queue.put(job(*[10] * 1000), lane="bulk")
    compute(queue, now_s, 3)
    queue.put(job(10), lane="bulk")
    assert queue.stats().expected_bulk_wait_s == pytest.approx((10_000 - 600 + 10) / TOKENS_PER_S)


def test_what_waits_in_the_bulk_lane_is_divided_by_the_speed_it_was_seen_to_get() -> None:
    now_s = [0.0]
    queue = loaded_queue(now_s)
    queue.put(job(*[10] * 100), lane="bulk")
    for _ in range(4):
        queue.put(job(*[10] * 16))  # all that the bulk lane leaves
        compute(queue, now_s, 1)
    assert queue.stats().waiting_texts == queue.stats().waiting_bulk_texts  # nothing interactive waits at this instant
    assert queue.stats().expected_bulk_wait_s == pytest.approx((1000 - 4 * 40) / (BULK_SHARE * TOKENS_PER_S))
    with pytest.raises(QueueFullError, match=r"about 42\.0 s now"):
        queue.put(job(10), lane="bulk")


def test_smaller_requests_that_keep_coming_leave_a_large_one_the_lane_s_share() -> None:
    now_s = [0.0]
    queue = loaded_queue(now_s)
    queue.put(job(*[10] * 160))
    for _ in range(30):
        queue.put(job(*[10] * 9))
        now_s[0] += 1
        if now_s[0] % 2 == 0:
            run(queue.take())
    left = queue.stats().waiting_tokens
    with pytest.raises(QueueFullError, match=rf"about {left / (OLDEST_SHARE * TOKENS_PER_S):.1f} s now"):
        queue.put(job(*[10] * 200))
    queue.put(job(10))


def test_until_a_batch_was_full_a_few_batches_may_wait() -> None:
    queue = Queue(BatchLimits(BATCH_TOKENS, 1000), TokenCounter, QueueLimits(max_wait_s=MAX_WAIT_S))
    queue.admit(Size(1, 4 * BATCH_TOKENS))
    queue.admit(Size(1, 4 * BATCH_TOKENS))
    with pytest.raises(QueueFullError, match="known only when a batch has run") as caught:
        queue.admit(Size(1, 4 * BATCH_TOKENS))
    assert caught.value.retry_after_s is None
    queue.admit(Size(1, 1))
    assert queue.stats().expected_wait_s == 0  # not known
