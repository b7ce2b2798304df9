"""The lanes of a queue, and what each gets of a batch."""

from __future__ import annotations

from collections.abc import Iterator

from farthing.serving.queue.expected_wait import expected_wait_s
from farthing.serving.queue.filling import Filling
from farthing.serving.queue.flow import Flow
from farthing.serving.queue.lane import Lane
from farthing.serving.queue.size import Size
from farthing.serving.urgency import LANES, LaneName

# Of every batch, for the longest-waiting interactive request.
OLDEST_SHARE = 0.25


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
