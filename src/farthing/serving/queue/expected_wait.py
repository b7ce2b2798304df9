"""How long a request waits for its turn.

In: what waits in the lanes, and their speed. Out: seconds.

A lane's share goes to its requests in order of arrival, so that all that waits in it now has its turn in the end. The
rest of what the lane gets goes to those whose turn is first, among them smaller requests that are still to come. The
first lane gets all of the speed. Another gets what it was seen to get of late: what waits in the lanes before it at one
instant does not tell what comes there by the next.
"""

from __future__ import annotations

from collections.abc import Sequence

from farthing.serving.queue.lane import Lane


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
