"""Requests of one urgency, and which of them goes next.

The request with the fewest tokens left goes first (shortest remaining processing time, which gives the least mean time
of all orders: Schrage 1968), the older of two equal ones before the other. So a short request does not wait for a long
one, and a request that has begun is finished before others like it, its texts side by side. Alone that would let a
long request wait for ever while short ones come: a share of every batch therefore goes to the longest-waiting request.
The share is kept over time as deficit round robin does (Shreedhar and Varghese 1995): what texts take beyond it is a
debt, and what it did not get because it did not fit is kept.

How fast a lane is served is seen from what it takes: that of a batch, by the time until the next batch is filled. Only
rounds count that left something waiting in it, since from others nothing can be told.

One request in the queue: its texts that wait, and how many are still to come.

In: the request's size as it was estimated, and its jobs as they are tokenised. Out: texts, in order, and how much is
left. The scheduler's lock guards it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from farthing.models.token_key import TOKEN_BYTES
from farthing.serving.queue.batch import Filling, Job, Text, num_tokens_of
from farthing.serving.queue.pace import Arrivals, Size, Speed, counted_tokens
from farthing.serving.request import LANES, LaneName, Urgency

# Texts of one request that wait in the queue at the same time, at most; the others are not tokenised yet. And their
# tokens, of which there are about as many as characters at most (`farthing.serving.queue.pace.SLICE_CHARS`).
HELD_TEXTS = 1024
HELD_TOKENS = 2**20
# Of every batch, for the longest-waiting interactive request.
OLDEST_SHARE = 0.25


class Flow:
    """
    Attributes:
        waiting: texts in order.
        goes_first: before all requests of its lane, because something of it is computed again.
        latest_s: by the scheduler's clock, when its turn should have come.
    """

    def __init__(self, urgency: Urgency, size: Size, latest_s: float = math.inf) -> None:
        self.urgency, self.latest_s = urgency, latest_s
        self.waiting: OrderedDict[Text, None] = OrderedDict()
        self.goes_first = False
        self.num_waiting_tokens = 0
        self._to_come = size

    @property
    def left(self) -> Size:
        """What waits and what is to come."""
        to_come = self._to_come
        return Size(len(self.waiting) + to_come.num_texts, self.num_waiting_tokens + to_come.num_tokens)

    def add(self, job: Job) -> None:
        """Its texts wait behind those that do."""
        for index, key in enumerate(job.keys):
            self.waiting[job, index] = None
            self.num_waiting_tokens += len(key) // TOKEN_BYTES

    def add_again(self, job: Job) -> None:
        """All of its texts wait before those of other jobs, whichever had been taken."""
        self.drop(job)
        self.add(job)
        for index in reversed(range(len(job.texts))):
            self.waiting.move_to_end((job, index), last=False)
        self.goes_first = True

    def is_late(self, now_s: float) -> bool:
        """Its turn should have come by now, and has not."""
        return now_s > self.latest_s

    def take(self, text: Text) -> None:
        """A text that waits: its turn has come."""
        self.latest_s = math.inf
        self.remove(text)

    def remove(self, text: Text) -> None:
        """A text that waits."""
        del self.waiting[text]
        job, index = text
        self.num_waiting_tokens -= len(job.keys[index]) // TOKEN_BYTES
        if not self.waiting:
            self.goes_first = False

    def drop(self, job: Job) -> None:
        """What waits of a job."""
        for index in range(len(job.texts)):
            if (job, index) in self.waiting:
                self.remove((job, index))

    def clear(self) -> list[Job]:
        """Drop all that waits; returns the jobs it was of."""
        jobs = list(dict.fromkeys(job for job, _ in self.waiting))
        self.waiting.clear()
        self.num_waiting_tokens = 0
        return jobs

    def came(self, num_inputs: int) -> None:
        """So many of the request's texts have been tokenised."""
        self._to_come = self._to_come.less(num_inputs)


class Lane:
    """`share` of every batch belongs to the longest-waiting request. The scheduler's lock guards it.

    Attributes:
        speed: at which it is served; not known when nothing waited in it after the last batch was filled.
        arrivals: of requests.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._flows: dict[Flow, None] = {}  # in order of arrival
        self.credit = 0.0  # tokens
        self.speed, self.arrivals = Speed(), Arrivals()
        self._num_taken = self._num_computed = 0  # tokens, by the last batch
        self._since_s, self._left_some = 0.0, False  # when it was filled

    @property
    def flows(self) -> Iterable[Flow]:
        return self._flows

    @property
    def has_waiting(self) -> bool:
        return any(flow.waiting for flow in self._flows)

    @property
    def waiting(self) -> Size:
        """Texts in the queue."""
        return Size(
            sum(len(flow.waiting) for flow in self._flows), sum(flow.num_waiting_tokens for flow in self._flows)
        )

    @property
    def num_tokens_left(self) -> int:
        """Of texts that wait or are to come."""
        return sum(flow.left.num_tokens for flow in self._flows)

    def add(self, flow: Flow, now_s: float) -> None:
        self._flows[flow] = None
        self.arrivals.note(flow.left.num_tokens, now_s)

    def remove(self, flow: Flow) -> None:
        del self._flows[flow]

    def begin(self, num_tokens: int, now_s: float) -> None:
        """A batch of that budget is filled now. Nothing is saved up by a lane in which nobody waits."""
        self.credit = self.credit + self.share * num_tokens if self.has_waiting else 0.0
        if self._left_some:
            self.speed.note(counted_tokens(self._num_taken, self._num_computed), now_s - self._since_s)
        self._num_taken, self._num_computed, self._since_s = 0, 0, now_s

    def end(self) -> None:
        """The batch is filled."""
        self._left_some = self.has_waiting
        if not self._left_some:
            self.speed = Speed()

    def claim(self, filling: Filling) -> None:
        """Take the share, from the longest-waiting requests."""
        for flow in self._flows:
            while flow.waiting and self.credit > 0:
                text = next(iter(flow.waiting))
                added = filling.claim(text)
                if added is None:
                    return
                self.credit -= added
                self._take(flow, text, added)

    def fill(self, filling: Filling) -> None:
        """Take what else fits, from the request with the least left on."""
        for flow in sorted(self._flows, key=turn):
            taken = []
            for text in flow.waiting:
                if filling.is_over:
                    break
                added = filling.offer(text)
                if added is not None:
                    taken.append((text, added))
            for text, added in taken:
                self._take(flow, text, added)

    def _take(self, flow: Flow, text: Text, num_computed: int) -> None:
        flow.take(text)
        self._num_taken += num_tokens_of(text)
        self._num_computed += num_computed


def turn(flow: Flow) -> tuple[bool, int]:
    return not flow.goes_first, flow.left.num_tokens


def expected_wait_s(
    lane: Lane, earlier_lanes: Sequence[Lane], num_tokens: int, tokens_per_s: float, passing: float = 0.0
) -> float:
    """Until so many tokens of a lane are computed, those whose turn is first.

    Args:
        passing: tokens a second of requests that are expected to come and go before, too.
    """
    share, left = lane.share * tokens_per_s, lane.num_tokens_left
    speed = lane.speed.tokens_per_s if earlier_lanes else tokens_per_s
    if speed is None:
        earlier = sum(one.num_tokens_left for one in earlier_lanes)
        return max((earlier + num_tokens) / tokens_per_s, left / share if earlier else 0.0)
    speed -= passing
    if speed <= share:
        return left / share
    return min(left / speed, num_tokens / (speed - share))


class Lanes:
    """`bulk_share` of every batch belongs to the longest-waiting bulk request. The scheduler's lock guards them."""

    def __init__(self, bulk_share: float) -> None:
        self._lanes: dict[LaneName, Lane] = {"interactive": Lane(OLDEST_SHARE), "bulk": Lane(bulk_share)}

    def __getitem__(self, name: LaneName) -> Lane:
        return self._lanes[name]

    @property
    def has_waiting(self) -> bool:
        return any(lane.has_waiting for lane in self._lanes.values())

    @property
    def waiting(self) -> Size:
        return sum((lane.waiting for lane in self._lanes.values()), Size(0, 0))

    def flows(self) -> Iterator[Flow]:
        for lane in self._lanes.values():
            yield from lane.flows

    def before(self, name: LaneName) -> list[Lane]:
        """Those that go before a lane."""
        return [self._lanes[earlier] for earlier in LANES[: LANES.index(name)]]

    def expected_wait_s(self, name: LaneName, tokens_per_s: float | None) -> float:
        """Until all that waits in a lane is computed; 0 while the speed is not known."""
        lane = self._lanes[name]
        return expected_wait_s(lane, self.before(name), lane.num_tokens_left, tokens_per_s) if tokens_per_s else 0.0

    def fill(self, filling: Filling, max_tokens: int, now_s: float) -> None:
        """Take each lane's share, that of the lane first which is owed most, and then by lane and turn what fits."""
        lanes = list(self._lanes.values())
        for lane in lanes:
            lane.begin(max_tokens, now_s)
        for lane in sorted(lanes, key=lambda lane: -lane.credit):
            lane.claim(filling)
        for lane in lanes:
            lane.fill(filling)
        if filling.next_round():
            for lane in lanes:
                lane.fill(filling)
        for lane in lanes:
            lane.end()
