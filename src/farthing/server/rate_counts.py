"""Where rates are counted: in this process, or in a Redis that several servers share.

In: keys and amounts. Out: counts of a sliding window. A Redis that fails or is slow costs `TIMEOUT_S`, and no
request fails by it: this process counts for itself, and asks again after `RETRY_S`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from limits.aio.storage import MemoryStorage, RedisStorage
from limits.errors import StorageError

from farthing.core.errors import MissingExtraError

if TYPE_CHECKING:
    from limits.aio.storage.base import SlidingWindowCounterSupport
    from redis.asyncio import BlockingConnectionPool

logger = logging.getLogger(__name__)

WINDOW_S = 60
TIMEOUT_S = 0.05  # to connect, and for each answer
RETRY_S = 5.0
MAX_CONNECTIONS = 32  # of this process; who finds none free waits as long as for an answer

T = TypeVar("T")


class RateCounts:
    """Counts in `storage`: "memory", or the address of a Redis."""

    def __init__(self, storage: str) -> None:
        self._memory = MemoryStorage()
        self._shared: RedisStorage | None = None
        self._pool: BlockingConnectionPool | None = None
        if storage != "memory":
            self._shared, self._pool = open_redis(storage)
        self._retry_at = 0.0

    async def take(self, key: str, limit: int, amount: int) -> bool:
        """Count `amount` unless there would be more than `limit` then."""
        return await self._ask(lambda storage: storage.acquire_sliding_window_entry(key, limit, WINDOW_S, amount))

    async def read(self, key: str) -> tuple[int, float, int, float]:
        """Count and seconds to live of the window before the running one, and of the running one."""
        return await self._ask(lambda storage: storage.get_sliding_window(key, WINDOW_S))

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.disconnect()

    async def _ask(self, call: Callable[[SlidingWindowCounterSupport], Awaitable[T]]) -> T:
        if self._shared is not None and time.monotonic() >= self._retry_at:
            try:
                return await call(self._shared)
            except StorageError as error:
                self._retry_at = time.monotonic() + RETRY_S
                logger.warning(
                    "Rates are counted in this process for %g s, since their storage fails: %s", RETRY_S, error
                )
        return await call(self._memory)


def open_redis(url: str) -> tuple[RedisStorage, BlockingConnectionPool]:
    """Connects on first use. Raises `MissingExtraError`."""
    try:
        from redis.asyncio import BlockingConnectionPool
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ModuleNotFoundError as error:
        raise MissingExtraError("Counting rates in Redis", "redis") from error
    pool = BlockingConnectionPool.from_url(
        url.replace("redis+unix:", "unix:"),
        max_connections=MAX_CONNECTIONS,
        timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    options: dict[str, Any] = {"connection_pool": pool}
    return RedisStorage(f"async+{url}", True, "redispy", "farthing-rates", **options), pool
