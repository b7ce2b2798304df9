"""Requests of one urgency, and which of them goes next.

The request with the fewest tokens left goes first, and of two equal ones the older. This order is shortest remaining
processing time, which gives the least mean time of all orders (Schrage 1968). A short request does not wait for a long
one, and a request that has begun is finished before others like it, with its texts side by side. Alone, this order
would let a long request wait for ever while short ones come. Therefore a share of every batch goes to the
longest-waiting request. The share is kept over time as deficit round robin does it (Shreedhar and Varghese 1995): what
texts take beyond the share is a debt, and what the share did not get because it did not fit is kept.

The speed of a lane is measured by what the lane takes: the tokens that it took into a batch, over the time until the
next batch is filled. Only rounds that left something waiting in the lane count, since the others tell nothing.

A `Flow` is one request in the queue: its texts that wait, and how many are still to come. In: the request's size as it
was estimated, and its jobs as they are tokenised. Out: texts, in order, and how much is left.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from farthing.serving.queue.batch import Filling, Job, QueuedText
from farthing.serving.queue.estimates import Arrivals, Size, Speed, counted_tokens
from farthing.serving.request import LANES, LaneName, Urgency

# The most texts of one request that wait in the queue at the same time; the others are not tokenised yet. And the most
# tokens: texts have at most about as many tokens as characters (`farthing.serving.queue.estimates.SLICE_CHARS`).
HELD_TEXTS = 1024
HELD_TOKENS = 2**20
# The share of every batch that goes to the longest-waiting interactive request.
OLDEST_SHARE = 0.25


class Flow:
    """One request in the queue. The scheduler's lock guards it.

    Attributes:
        waiting: texts that wait, in order.
        goes_first: whether it goes before all other requests of its lane, because some of it is computed again.
        latest_s: when its turn should have come at the latest, by the scheduler's clock.
    """

    def __init__(self, urgency: Urgency, size: Size, latest_s: float = math.inf) -> None:
        self.urgency, self.latest_s = urgency, latest_s
        self.waiting: OrderedDict[QueuedText, None] = OrderedDict()
        self.goes_first = False
        self.num_waiting_tokens = 0
        self._to_come = size

    @property
    def left(self) -> Size:
        """The size of the texts that wait and of those that are still to come."""
        to_come = self._to_come
        return Size(len(self.waiting) + to_come.num_texts, self.num_waiting_tokens + to_come.num_tokens)

    def add(self, job: Job) -> None:
        """Put the texts of a job behind those that wait already."""
        self.waiting.update((QueuedText(job, index), None) for index in range(len(job.texts)))
        self.num_waiting_tokens += sum(job.lengths)

    def add_again(self, job: Job) -> None:
        """Put all texts of a job before those of other jobs, also the ones that had been taken."""
        self.drop(job)
        self.add(job)
        for index in reversed(range(len(job.texts))):
            self.waiting.move_to_end(QueuedText(job, index), last=False)
        self.goes_first = True

    def is_late(self, now_s: float) -> bool:
        """Whether the request's turn should have come by now, and has not."""
        return now_s > self.latest_s

    def remove(self, text: QueuedText) -> None:
        """Remove a text that waits."""
        del self.waiting[text]
        self.num_waiting_tokens -= text.job.lengths[text.place]
        if not self.waiting:
            self.goes_first = False

    def drop(self, job: Job) -> None:
        """Remove the texts of a job that still wait."""
        for text in [text for text in self.waiting if text.job is job]:
            self.remove(text)

    def clear(self) -> list[Job]:
        """Remove all texts that wait, and return the jobs that they belong to."""
        jobs = list(dict.fromkeys(text.job for text in self.waiting))
        self.waiting.clear()
        self.num_waiting_tokens = 0
        return jobs

    def came(self, num_inputs: int) -> None:
        """Note that `num_inputs` more of the request's texts have been tokenised."""
        self._to_come = self._to_come.less(num_inputs)


class Lane:
    """Requests of one urgency; `share` of every batch is for the longest-waiting one. The scheduler's lock guards it.

    Attributes:
        flows: its requests, in order of arrival.
        speed: speed at which the lane is served; not known when nothing waited in it after the last batch was filled.
        arrivals: the requests that arrived lately.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.flows: dict[Flow, None] = {}
        self.credit = 0.0  # tokens
        self.speed, self.arrivals = Speed(), Arrivals()
        self._num_taken = self._num_computed = 0  # tokens of the lane in the last batch
        self._since_s, self._left_some = 0.0, False  # when that batch was filled, and whether texts still waited then

    @property
    def has_waiting(self) -> bool:
        return any(flow.waiting for flow in self.flows)

    @property
    def waiting(self) -> Size:
        """The size of the texts that wait in the queue."""
        return Size(sum(len(flow.waiting) for flow in self.flows), sum(flow.num_waiting_tokens for flow in self.flows))

    @property
    def num_tokens_left(self) -> int:
        """The number of tokens of texts that wait or are still to come."""
        return sum(flow.left.num_tokens for flow in self.flows)

    def add(self, flow: Flow, now_s: float) -> None:
        self.flows[flow] = None
        self.arrivals.note(flow.left.num_tokens, now_s)

    def remove(self, flow: Flow) -> None:
        del self.flows[flow]

    def begin(self, num_tokens: int, now_s: float) -> None:
        """Note that a batch of that token budget is filled now. A lane in which nothing waits saves nothing up."""
        self.credit = self.credit + self.share * num_tokens if self.has_waiting else 0.0
        if self._left_some:
            self.speed.note(counted_tokens(self._num_taken, self._num_computed), now_s - self._since_s)
        self._num_taken, self._num_computed, self._since_s = 0, 0, now_s

    def end(self) -> bool:
        """Note that the batch is filled, and return whether some texts had to wait for the next one."""
        self._left_some = self.has_waiting
        if not self._left_some:
            self.speed = Speed()
        return self._left_some

    def claim(self, filling: Filling) -> None:
        """Take the lane's share of the batch, from the longest-waiting requests."""
        for flow in self.flows:
            while flow.waiting and self.credit > 0:
                text = next(iter(flow.waiting))
                added = filling.claim(text)
                if added is None:
                    return
                self.credit -= added
                self._take(flow, text, added)

    def fill(self, filling: Filling) -> None:
        """Take more texts that fit, beginning with the request that has the fewest tokens left."""
        for flow in sorted(self.flows, key=turn):
            taken = []
            for text in flow.waiting:
                if filling.is_over:
                    break
                added = filling.offer(text)
                if added is not None:
                    taken.append((text, added))
            for text, added in taken:
                self._take(flow, text, added)

    def _take(self, flow: Flow, text: QueuedText, num_computed: int) -> None:
        flow.latest_s = math.inf  # its turn has come
        flow.remove(text)
        self._num_taken += text.job.lengths[text.place]
        self._num_computed += num_computed


def turn(flow: Flow) -> tuple[bool, int]:
    return not flow.goes_first, flow.left.num_tokens


def expected_wait_s(
    lane: Lane, earlier_lanes: Sequence[Lane], num_tokens: int, tokens_per_s: float, passing: float = 0.0
) -> float:
    """The seconds until the next `num_tokens` tokens of a lane, in the order of turns, are computed.

    Args:
        passing: tokens a second of requests that are expected to come, and to go before these tokens, too.
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
    """All lanes. The scheduler's lock guards them.

    `bulk_share` of every batch belongs to the longest-waiting bulk request.
    """

    def __init__(self, bulk_share: float) -> None:
        self._lanes: dict[LaneName, Lane] = {"interactive": Lane(OLDEST_SHARE), "bulk": Lane(bulk_share)}

    def __getitem__(self, name: LaneName) -> Lane:
        return self._lanes[name]

    @property
    def has_waiting(self) -> bool:
        return any(flow.waiting for lane in self._lanes.values() for flow in lane.flows)

    @property
    def waiting(self) -> Size:
        return sum((lane.waiting for lane in self._lanes.values()), Size(0, 0))

    def flows(self) -> list[Flow]:
        return [flow for lane in self._lanes.values() for flow in lane.flows]

    def before(self, name: LaneName) -> list[Lane]:
        """The lanes that go before this one."""
        return [self._lanes[earlier] for earlier in LANES[: LANES.index(name)]]

    def expected_wait_s(self, name: LaneName, tokens_per_s: float | None) -> float:
        """The seconds until all that waits in a lane is computed; 0 while the speed is not known."""
        lane = self._lanes[name]
        return expected_wait_s(lane, self.before(name), lane.num_tokens_left, tokens_per_s) if tokens_per_s else 0.0

    def fill(self, filling: Filling, max_tokens: int, now_s: float) -> bool:
        """Take each lane's share, beginning with the lane that is owed most; then take what fits, by lane and turn.

        Returns whether some texts have to wait for the next batch.
        """
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
        have_left_some = [lane.end() for lane in lanes]  # every lane has to end
        return any(have_left_some)
