"""Counts of what callers have spent per minute, in this process or in a Redis that several servers share.

In: keys, their limits, and amounts. Out: whether an amount was let pass, how much counts now, and when less will count.

The running minute counts in full. Of the minute before it, only the part that lies within the last 60 seconds counts. A
caller may spend more than the limit in one minute, because the number of tokens is known only when they have been
computed. The rest then counts in the next minute, and so on: every minute pays for one limit, until all is paid. (The
package `limits` forgets what was overdrawn after two minutes.)

A Redis that fails, is slow, or answers nonsense costs `TIMEOUT_S`, and no request fails because of it: this process
counts for itself, and asks Redis again after `RETRY_S`.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from farthing.core.deferred import dataclass
from farthing.core.errors import MissingExtraError

if TYPE_CHECKING:
    from redis.asyncio import BlockingConnectionPool

logger = logging.getLogger(__name__)
TIMEOUT_S = 0.05  # to connect, and for each answer
RETRY_S = 5.0
MAX_CONNECTIONS = 32  # of this process; a request that finds none free waits as long as for an answer
PREFIX = "farthing-spent/"
LOOKED_AT = 2  # number of keys checked for their age whenever a key is counted: more than can be added meanwhile
ANY_AMOUNT = 2**52  # may have been spent already: a request with so much of its own is never refused
# `MemoryCounts.spend` in one step, for all servers by the clock of Redis. That clock may be set back: a minute that
# lies in the future is treated as the running one. KEYS: the key. ARGV: limit, amount, own. The script returns whether
# the amount was counted, previous, current, and the microseconds that have passed of the running minute.
SPEND = """
local limit, amount, own = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local minute = math.floor(tonumber(time[1]) / 60)
local part_us = (tonumber(time[1]) - minute * 60) * 1000000 + tonumber(time[2])
local held = redis.call('HMGET', KEYS[1], 'minute', 'previous', 'current')
local passed = minute - (tonumber(held[1]) or minute)
local previous, current = tonumber(held[2]) or 0, tonumber(held[3]) or 0
if passed >= 1 then
    local left = math.max(current - (passed - 1) * limit, 0)
    previous, current = math.min(left, limit), math.max(left - limit, 0)
end
local counted = 0
if previous * (1 - part_us / 60000000) + current - own < limit then
    counted = 1
    if amount ~= 0 then
        current = current + amount
        previous, current = math.max(previous + math.min(current, 0), 0), math.max(current, 0)
        redis.call('HSET', KEYS[1], 'minute', string.format('%.0f', minute),
            'previous', string.format('%.0f', previous), 'current', string.format('%.0f', current))
        redis.call('EXPIRE', KEYS[1], string.format('%.0f', 60 * (2 + math.ceil(current / limit))))
    end
end
return {counted, previous, current, part_us}
"""
WINDOW_S = 60


@dataclass(frozen=True)
class Spent:
    """What a key has spent of its limit.

    Attributes:
        limit: the amount that may be spent per minute.
        previous: the amount spent in the minute before the running one, at most the limit.
        current: the amount spent in the running minute, with what earlier minutes left to pay.
        passed: the part of the running minute that is over, from 0 to 1.
    """

    limit: int
    previous: int
    current: int
    passed: float

    @property
    def amount(self) -> float:
        return self.previous * (1 - self.passed) + self.current

    def after(self, minutes: int) -> tuple[int, int]:
        """Return `previous` and `current` as they are `minutes` later, if nothing more is spent."""
        if minutes < 1:
            return self.previous, self.current
        left = max(self.current - (minutes - 1) * self.limit, 0)
        return min(left, self.limit), max(left - self.limit, 0)

    def plus(self, amount: int) -> Spent:
        """Return this with `amount` more. A negative amount is taken from the latest spending first, down to 0."""
        current = self.current + amount
        return Spent(self.limit, max(self.previous + min(current, 0), 0), max(current, 0), self.passed)

    def wait_s(self, most: float) -> float:
        """Return the seconds until at most `most` counts, if nothing more is spent."""
        if self.amount <= most:
            return 0.0
        minutes = max(math.ceil((self.current - most) / self.limit), 0)
        previous, current = self.after(minutes)
        passed = max(1 - (most - current) / previous, 0.0) if previous else 0.0
        return (minutes + passed - self.passed) * WINDOW_S


class RateCounts:
    """The counts in `storage`, which is "memory" or the address of a Redis."""

    def __init__(self, storage: str) -> None:
        self._memory = MemoryCounts()
        self._shared = None if storage == "memory" else RedisCounts(storage)
        self._retry_at = 0.0

    async def spend(self, key: str, limit: int, amount: int, *, own: int = 0) -> tuple[bool, Spent]:
        """Count `amount`, unless what was spent without `own` has already used up the limit.

        Returns:
            Whether the amount was counted, and what is spent now.
        """
        if self._shared is not None and time.monotonic() >= self._retry_at:
            try:
                return await self._shared.spend(key, limit, amount, own)
            except self._shared.errors as error:
                self._retry_at = time.monotonic() + RETRY_S
                logger.warning(
                    "Rates are counted in this process for %g s, since their storage fails: %s", RETRY_S, error
                )
        return self._memory.spend(key, limit, amount, own)

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()


class MemoryCounts:
    """Counts of this process, by a clock that never jumps. Keys with nothing left to pay are forgotten bit by bit."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[int, Spent]] = OrderedDict()  # last minute, and spent by then

    def spend(self, key: str, limit: int, amount: int, own: int) -> tuple[bool, Spent]:
        minute, part_s = divmod(time.monotonic(), WINDOW_S)
        self._forget(int(minute))
        then, held = self._held.get(key, (int(minute), Spent(limit, 0, 0, 0.0)))
        spent = Spent(limit, held.previous, held.current, 0.0)
        spent = Spent(limit, *spent.after(int(minute) - then), part_s / WINDOW_S)
        is_counted = spent.amount - own < limit
        if is_counted and amount:
            spent = spent.plus(amount)
            self._held[key] = int(minute), spent
            self._held.move_to_end(key)
        return is_counted, spent

    def _forget(self, minute: int) -> None:
        for _ in range(min(LOOKED_AT, len(self._held))):
            key, (then, spent) = next(iter(self._held.items()))
            if any(spent.after(minute - then)):
                self._held.move_to_end(key)
            else:
                del self._held[key]

    def __len__(self) -> int:
        return len(self._held)


class RedisCounts:
    """Counts in a Redis, to which this connects on first use. Raises `MissingExtraError`.

    Attributes:
        errors: the exceptions that `spend` may raise; `ValueError` stands for an answer that is not made of counts.
    """

    def __init__(self, url: str) -> None:
        try:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError
        except ModuleNotFoundError as error:
            raise MissingExtraError("Counting rates in Redis", "redis") from error
        self.errors: tuple[type[Exception], ...] = (RedisError, OSError, ValueError)
        self._pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url.replace("redis+unix:", "unix:"),
            max_connections=MAX_CONNECTIONS,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._script: Any = Redis(connection_pool=self._pool).register_script(SPEND)

    async def spend(self, key: str, limit: int, amount: int, own: int) -> tuple[bool, Spent]:
        answer = await self._script(keys=[PREFIX + key], args=[limit, amount, own])
        if not isinstance(answer, list) or [type(part) for part in answer] != [int] * 4 or min(answer) < 0:
            raise ValueError("it answered with something else than counts")
        counted, previous, current, part_us = answer
        return bool(counted), Spent(limit, previous, current, min(part_us / (WINDOW_S * 1e6), 1.0))

    async def close(self) -> None:
        await self._pool.disconnect()
