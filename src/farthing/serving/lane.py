"""Requests of one urgency, and which of them goes next.

The request with the fewest tokens left goes first (shortest remaining processing time, which gives the least mean time
of all orders: Schrage 1968), the older of two equal ones before the other. So a short request does not wait for a long
one, and a request that has begun is finished before others like it, its texts side by side. Alone that would let a
long request wait for ever while short ones come: a share of every batch therefore goes to the longest-waiting request.
The share is kept over time as deficit round robin does (Shreedhar and Varghese 1995): what texts take beyond it is a
debt, and what it did not get because it did not fit is kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from farthing.serving.filling import Filling
from farthing.serving.flow import Flow
from farthing.serving.size import Size


class Lane:
    """`share` of every batch belongs to the longest-waiting request. The scheduler's lock guards it."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._flows: dict[Flow, None] = {}  # in order of arrival
        self.credit = 0.0  # tokens

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

    def add(self, flow: Flow) -> None:
        self._flows[flow] = None

    def remove(self, flow: Flow) -> None:
        del self._flows[flow]

    def earn(self, num_tokens: int) -> None:
        """A batch of that budget is filled next. Nothing is saved up by a lane in which nobody waits."""
        self.credit = self.credit + self._share * num_tokens if self.has_waiting else 0.0

    def claim(self, filling: Filling) -> None:
        """Take the share, from the longest-waiting requests."""
        for flow in self._flows:
            while flow.waiting and self.credit > 0:
                text = next(iter(flow.waiting))
                added = filling.claim(text)
                if added is None:
                    return
                self.credit -= added
                flow.remove(text)

    def fill(self, filling: Filling) -> None:
        """Take what else fits, from the request with the least left on."""
        for flow in sorted(self._flows, key=turn):
            taken = []
            for text in flow.waiting:
                if filling.is_over:
                    break
                if filling.offer(text) is not None:
                    taken.append(text)
            for text in taken:
                flow.remove(text)


def turn(flow: Flow) -> tuple[bool, int]:
    return not flow.goes_first, flow.left.num_tokens
