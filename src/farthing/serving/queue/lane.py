"""Requests of one urgency, and which of them goes next.

The request with the fewest tokens left goes first (shortest remaining processing time, which gives the least mean time
of all orders: Schrage 1968), the older of two equal ones before the other. So a short request does not wait for a long
one, and a request that has begun is finished before others like it, its texts side by side. Alone that would let a
long request wait for ever while short ones come: a share of every batch therefore goes to the longest-waiting request.
The share is kept over time as deficit round robin does (Shreedhar and Varghese 1995): what texts take beyond it is a
debt, and what it did not get because it did not fit is kept.

How fast a lane is served is seen from what it takes: that of a batch, by the time until the next batch is filled. Only
rounds count that left something waiting in it, since from others nothing can be told.
"""

from __future__ import annotations

from collections.abc import Iterable

from farthing.serving.queue.arrivals import Arrivals
from farthing.serving.queue.filling import Filling, num_tokens_of
from farthing.serving.queue.flow import Flow, Text
from farthing.serving.queue.pace import Speed, counted_tokens
from farthing.serving.queue.size import Size


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
