"""Whether a request may join the queue, decided once, before any of it is tokenised.

In: the requests that would go before it, its estimated size, and the present speed. Out: nothing, or `QueueFullError`
with the time after which there will be room. A request counts with no more texts and tokens than may wait in the queue
at once (`farthing.serving.queue.lane`), so that a very large request does not keep all others out. A request for which
there would never be room is refused for good.

The wait is estimated from what waits in the lanes and from their speed. A lane's share goes to its requests in order of
arrival, so that everything that waits in it now has its turn in the end. The rest of what the lane gets goes to the
requests whose turn is first, among them smaller requests that are still to come. The first lane gets all of the speed.
Any other lane gets the speed at which it was served lately: what waits in the lanes before it at one instant does not
tell what will arrive there by the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from farthing.core.deferred import dataclass
from farthing.core.errors import QueueFullError, TooManyTextsError, TooManyTokensError
from farthing.serving.queue.estimates import Size
from farthing.serving.queue.lane import HELD_TEXTS, HELD_TOKENS, Flow, Lane, expected_wait_s

# The most batches that a request waits for while the speed is not known, where the wait is limited. With that much
# waiting, a batch is full, and will tell the speed.
FIRST_BATCHES = 4
# A request whose turn has not come after this many times the allowed wait is refused after all: the machine has become
# slower than it was when the request was let in.
LATE = 2.0


@dataclass(frozen=True)
class QueueLimits:
    """
    Attributes:
        max_texts, max_tokens: most texts and tokens that may wait.
        max_wait_s: longest expected wait until a request's turn comes; None for no limit.
        bulk_share: share of every batch that belongs to the bulk lane while something waits in it.
    """

    max_texts: int = 100_000
    max_tokens: int = 10_000_000
    max_wait_s: float | None = None
    bulk_share: float = 0.2

    @property
    def late_s(self) -> float:
        """The longest that a request waits for its turn."""
        return math.inf if self.max_wait_s is None else LATE * self.max_wait_s

    def late_error(self) -> QueueFullError:
        """The error that the caller gets when the request has waited for that long."""
        assert self.max_wait_s is not None, "nothing is late without a limit"
        return QueueFullError(
            f"The request's turn has not come within {self.late_s:.1f} s: the machine became slower than it was when "
            f"the request was let in, for a wait of {self.max_wait_s * 1000:.0f} ms at most (max_queue_ms). Try again "
            "later.",
            retry_after_s=self.max_wait_s,
        )


@dataclass(frozen=True)
class Throughput:
    """
    Attributes:
        tokens_per_s: the present speed; None when it is not known yet, and waits are counted in batches.
        batch_tokens: tokens of a full batch.
        now_s: the present time, by the scheduler's clock.
    """

    tokens_per_s: float | None
    batch_tokens: int
    now_s: float


def check_room(
    limits: QueueLimits, lane: Lane, earlier_lanes: Sequence[Lane], size: Size, throughput: Throughput
) -> None:
    """Raise an error when the queue has no room for a request of this size.

    Args:
        lane: the request's own lane; `earlier_lanes` go before it.

    Raises:
        TooManyTextsError, TooManyTokensError: the request alone would make more wait than allowed.
        QueueFullError: the request would make more wait than allowed, or would wait for longer.
    """
    own = size.held(HELD_TEXTS, HELD_TOKENS)
    check_alone(limits, own)
    before = [flow for one in (*earlier_lanes, lane) for flow in one.flows]
    waiting = sum((flow.left.held(HELD_TEXTS, HELD_TOKENS) for flow in before), Size(0, 0))
    if not waiting.num_texts:
        return
    for what, found, more, limit in (
        ("texts", waiting.num_texts, own.num_texts, limits.max_texts),
        ("tokens", waiting.num_tokens, own.num_tokens, limits.max_tokens),
    ):
        if found + more > limit:
            excess_tokens = waiting.num_tokens * min(1.0, (found + more - limit) / found)
            raise QueueFullError(
                f"{found} {what} are waiting and {more} more would exceed the limit of {limit} (max_queue_{what}). Try "
                "again later.",
                retry_after_s=excess_tokens / throughput.tokens_per_s if throughput.tokens_per_s else None,
            )
    if limits.max_wait_s is None:
        return
    num_tokens = tokens_before(lane, size)
    if throughput.tokens_per_s is None:
        if expected_wait_s(lane, earlier_lanes, num_tokens, throughput.batch_tokens) > FIRST_BATCHES:
            raise QueueFullError(
                f"{waiting.num_tokens} tokens are waiting; how long a request of about {size.num_tokens} would wait is "
                "known only when a batch has run (max_queue_ms). Try again later."
            )
        return
    passing = lane.arrivals.tokens_per_s(size.num_tokens, throughput.now_s)
    wait_s = expected_wait_s(lane, earlier_lanes, num_tokens, throughput.tokens_per_s, passing)
    if wait_s > limits.max_wait_s:
        raise QueueFullError(
            f"A request of about {size.num_tokens} tokens would wait for about {wait_s:.1f} s now; at most "
            f"{limits.max_wait_s * 1000:.0f} ms are allowed (max_queue_ms). Try again later.",
            retry_after_s=wait_s - limits.max_wait_s,
        )


def check_alone(limits: QueueLimits, own: Size) -> None:
    if own.num_texts > limits.max_texts:
        raise TooManyTextsError(
            f"The request would have {own.num_texts} texts in the queue at once, which never has room for more than "
            f"{limits.max_texts} (max_queue_texts). Send fewer texts at once.",
            param="input",
        )
    if own.num_tokens > limits.max_tokens:
        raise TooManyTokensError(
            f"The request would have about {own.num_tokens} tokens in the queue at once, which never has room for more "
            f"than {limits.max_tokens} (max_queue_tokens). Send fewer or shorter texts at once.",
            param="input",
        )


def tokens_before(lane: Lane, size: Size) -> int:
    """The number of tokens in the lane that go before a request of that size."""
    in_lane: list[Flow] = [flow for flow in lane.flows if flow.left.num_tokens <= size.num_tokens]
    return sum(flow.left.num_tokens for flow in in_lane)
