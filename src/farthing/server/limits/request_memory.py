"""The memory that all requests in work take together, and which of them gives way when it is too much.

In: the claims of requests, for their bodies as these arrive and for the answers that will need room. Out: room, after a
wait if need be, or a typed error. A request whose client keeps it waiting (the rest of its body does not come, its
answer is not read) gives way to one that could go on: a client that opens connections and leaves them keeps nobody out.
The limit is an entry of the memory plan, so that requests cannot push the process over its budget.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from farthing.core.errors import QueueFullError, RequestTooLargeError
from farthing.core.sizes import mebibytes, parse_bytes

# Bytes of memory for each byte of a body: its parts as they arrived, the whole body, and its values as Python objects.
BODY_WEIGHT = 3
# Bytes of memory for each number of an answer: rows as they were computed, in order, and normalised to length 1.
NUMBER_BYTES = 12
# The setting "auto" takes at most so many bytes, and at most 1 / MEMORY_SHARE of the memory.
MOST_BYTES, MEMORY_SHARE = 512 * 2**20, 16
# How long a client may keep its request waiting before the request has to give way to others.
PATIENCE_S = 2.0
# The longest wait for room.
WAIT_S = 10.0
RETRY_AFTER_S = 1.0
LOOK_INTERVAL_S = 0.25
# A request of at most so many bytes may use a share of the memory that larger ones cannot take: it need not wait for
# them.
SMALL_BYTES, SMALL_SHARE = 64 * 1024, 1 / 16
# The size of what may wait for room beside what is held, as a share of the limit: it has been received already.
WAITING_SHARE = 0.25


class Claim:
    """The memory that one request holds. Only the event loop's thread may use it.

    Attributes:
        expected_bytes: how much the request will need at least, as far as its client has declared it.
    """

    def __init__(self, memory: RequestMemory) -> None:
        self._memory = memory
        self.num_bytes = self.expected_bytes = 0
        self.is_dropped = False
        self._give_way: Callable[[], None] | None = None
        self._since_s = 0.0

    async def grow(self, num_bytes: int) -> None:
        """Claim `num_bytes` more, and return when there is room.

        Raises:
            RequestTooLargeError: the request would need more than all requests may have.
            QueueFullError: there was no room in time, or the request has given way meanwhile.
        """
        if not self._memory.take(self, num_bytes):
            await self._memory.wait(self, num_bytes)

    def waiting_for_client(self, give_way: Callable[[], None] | None) -> Claim:
        """Return a context in which the request waits for its client. `give_way` is called when others need the room,
        and ends the wait; with None the wait cannot be ended."""
        self._give_way, self._since_s = give_way, self._memory.clock()
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._give_way = None

    def waits_s(self, now_s: float) -> float:
        """Return for how long the client has kept this request waiting; 0 while it does not."""
        return 0.0 if self._give_way is None else now_s - self._since_s

    def size_bytes(self, more_bytes: int) -> int:
        """Return the size to compare with other requests: a large body is large from its first byte on."""
        return max(self.num_bytes + more_bytes, self.expected_bytes)

    def drop(self) -> None:
        """Make the request give way. Its memory counts as free at once: its task ends in the next turns of the loop."""
        give_way, self._give_way, self.is_dropped = self._give_way, None, True
        self.release()
        assert give_way is not None
        give_way()

    def release(self) -> None:
        self._memory.give_back(self)


class RequestMemory:
    """The memory of all requests.

    Args:
        limit_bytes: what all requests may hold together. It may be changed while no request is in work.
    """

    def __init__(self, limit_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit_bytes, self.clock = limit_bytes, clock
        self.used_bytes = 0
        self.dropped_total = 0
        self._makes_room = False
        self._claims: set[Claim] = set()
        self._waiting: dict[asyncio.Future[None], tuple[Claim, int]] = {}  # in order of arrival

    @classmethod
    def of(cls, setting: str) -> RequestMemory:
        """Make one from `request_memory` of the settings; "auto" is treated as if there were memory enough."""
        return cls(MOST_BYTES if setting == "auto" else parse_bytes(setting) or 0)

    def claim(self) -> Claim:
        """Return a claim for a new request, which holds nothing yet."""
        return Claim(self)

    def take(self, claim: Claim, num_bytes: int) -> bool:
        """Let the claim grow and return True, or return False if there is no room now.

        Raises `RequestTooLargeError` where there never can be room, and `QueueFullError` when the claim was dropped.
        """
        if claim.is_dropped:
            raise gave_way()
        limit_bytes = self._limit_bytes_for(claim, num_bytes)
        if claim.num_bytes + num_bytes > limit_bytes:
            raise RequestTooLargeError(
                f"The request needs about {mebibytes(claim.num_bytes + num_bytes)} of memory; all requests together "
                f"may take {mebibytes(limit_bytes)}. Send fewer or shorter texts a request, ask for fewer "
                "dimensions, or start the server with a larger --request-memory.",
            )
        if self.used_bytes + num_bytes > limit_bytes and not self._make_room(claim, num_bytes, limit_bytes):
            return False
        claim.num_bytes += num_bytes
        self.used_bytes += num_bytes
        self._claims.add(claim)
        return True

    async def wait(self, claim: Claim, num_bytes: int) -> None:
        """Return when the claim has grown. Raises as `take`, and `QueueFullError` when it takes too long."""
        self._let_wait(claim, num_bytes)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = claim, num_bytes
        end_s = self.clock() + WAIT_S
        try:
            while True:
                self._refuse_one_of_a_circle()
                await asyncio.wait((turn,), timeout=LOOK_INTERVAL_S)
                if turn.done():
                    return turn.result()
                if self.take(claim, num_bytes):  # other clients may have waited for too long meanwhile
                    return None
                if self.clock() >= end_s:
                    raise self._full()
        finally:
            self._waiting.pop(turn, None)

    def give_back(self, claim: Claim) -> None:
        self.used_bytes -= claim.num_bytes
        claim.num_bytes = 0
        self._claims.discard(claim)
        if self._waiting and not self._makes_room:
            self._serve_waiting()

    def _limit_bytes_for(self, claim: Claim, num_bytes: int) -> int:
        """Return how much all requests may hold together after the claim has grown."""
        is_small = claim.num_bytes + num_bytes <= SMALL_BYTES
        return self.limit_bytes if is_small else self.limit_bytes - int(SMALL_SHARE * self.limit_bytes)

    def _let_wait(self, claim: Claim, num_bytes: int) -> None:
        """Refuse the largest waiting requests until this one may wait too; raise if this one is the largest."""
        while self._waiting:
            if sum(more for _, more in self._waiting.values()) + num_bytes <= WAITING_SHARE * self.limit_bytes:
                return
            turn, (other, more) = max(self._waiting.items(), key=lambda item: item[1][0].size_bytes(item[1][1]))
            if claim.size_bytes(num_bytes) >= other.size_bytes(more):
                raise self._full()
            self._refuse(turn)

    def _refuse(self, turn: asyncio.Future[None]) -> None:
        self._waiting.pop(turn, None)
        if not turn.done():
            turn.set_exception(self._full())

    def _make_room(self, claim: Claim, num_bytes: int, limit_bytes: int) -> bool:
        """Drop the largest requests whose clients keep them waiting. Returns whether there is room then."""
        now_s = self.clock()
        slow = [other for other in self._claims if other is not claim and other.waits_s(now_s) >= PATIENCE_S]
        missing = self.used_bytes + num_bytes - limit_bytes
        if sum(other.num_bytes for other in slow) < missing:
            return False
        self._makes_room = True  # for this claim, and for nobody who waits
        for other in sorted(slow, key=lambda one: one.num_bytes, reverse=True):
            if self.used_bytes + num_bytes <= limit_bytes:
                break
            self.dropped_total += 1
            other.drop()
        self._makes_room = False
        return True

    def _serve_waiting(self) -> None:
        """Serve the oldest waiting requests that fit; a smaller request may pass one for which there is no room yet."""
        for turn, (claim, num_bytes) in list(self._waiting.items()):
            limit_bytes = self._limit_bytes_for(claim, num_bytes)
            if not turn.done() and self.used_bytes + num_bytes <= limit_bytes and self.take(claim, num_bytes):
                self._waiting.pop(turn, None)
                turn.set_result(None)

    def _refuse_one_of_a_circle(self) -> None:
        """Refuse the largest waiting request where everything held belongs to requests that wait for each other."""
        open_turns = [(turn, claim, more) for turn, (claim, more) in self._waiting.items() if not turn.done()]
        holders = [(claim.size_bytes(more), turn) for turn, claim, more in open_turns if claim.num_bytes]
        if holders and self._claims <= {claim for _, claim, _ in open_turns}:
            self._refuse(max(holders, key=lambda item: item[0])[1])

    def _full(self) -> QueueFullError:
        return QueueFullError(
            f"Requests in work hold {mebibytes(self.used_bytes)} of the {mebibytes(self.limit_bytes)} that they may "
            "take together (request_memory). Try again later.",
            retry_after_s=RETRY_AFTER_S,
        )


def gave_way() -> QueueFullError:
    """Return the error for a request whose client kept it waiting while others needed its memory."""
    return QueueFullError(
        "The request did not come on for too long, and others needed its memory (request_memory). Send its body at "
        "once, and read the answer as it comes.",
        retry_after_s=RETRY_AFTER_S,
    )
