"""The level that others share, which may be slow, away, or full of something else.

In: keys and entries. Out: entries that are ours, within a time that the caller sets; when anything goes wrong, an entry
counts as not found. Entries are written in the background, up to a number of bytes that wait.

A query that took too long is not cancelled but goes on unheard until its client gives up: cancelling it would close its
connection, and the first query, which has to open one, would never get there.

A store that fails several times in a row is left alone for a while, and tried again now and then. The pattern is the
circuit breaker of Nygard, "Release It!". Clocks that jump do not matter: the time is monotonic.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from farthing.serving.cache.entry import MOST_TOKENS, are_sound, seal, unseal
from farthing.serving.cache.store import GIVE_UP_S, CacheStore, StoreStats

logger = logging.getLogger(__name__)
T = TypeVar("T")
# Keys of one query: the time that it takes must not grow with the request.
MOST_KEYS = 512
# Entries of one write; between two writes the event loop does other things.
MOST_ENTRIES = 64
# Bytes of entries that wait to be written.
PENDING_BYTES = 8 * 2**20
MAX_FAILURES = 5
PAUSE_S = 5.0


class Breaker:
    """Tells whether a service that fails may be asked. It is for one event loop.

    Args:
        max_failures: failures in a row after which nobody asks any more.
        pause_s: seconds after which one caller may try again; if that fails too, the next one may after as long.
    """

    def __init__(
        self,
        max_failures: int = MAX_FAILURES,
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_failures, self._pause_s, self._clock = max_failures, pause_s, clock
        self._num_failures = 0
        self._retry_at = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether everybody may ask."""
        return self._num_failures < self._max_failures

    def allows(self) -> bool:
        """Whether the caller may ask now. While the breaker is open, one caller a pause may."""
        if self.is_closed:
            return True
        if self._clock() < self._retry_at:
            return False
        self._retry_at = self._clock() + self._pause_s
        return True

    def succeeded(self) -> bool:
        """Note a success, and return whether it closed the breaker."""
        was_open, self._num_failures = not self.is_closed, 0
        return was_open

    def failed(self) -> bool:
        """Note a failure, and return whether it opened the breaker."""
        self._num_failures += 1
        self._retry_at = self._clock() + self._pause_s
        return self._num_failures == self._max_failures


class NonsenseError(Exception):
    """The store's answer is no answer to what it was asked."""


class RemoteLevel:
    """The level of the cache that others share, for one event loop.

    Args:
        timeout_s: the longest that `get` waits for one answer, and the longest in all when there is no answer.
    """

    def __init__(self, store: CacheStore, timeout_s: float, breaker: Breaker | None = None) -> None:
        self._store, self._timeout_s = store, timeout_s
        self._breaker = breaker or Breaker()
        self._running: set[asyncio.Task[Any]] = set()
        self._pending: dict[bytes, bytes] = {}
        self._pending_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._num_hits = self._num_misses = self._num_refused = self._num_errors = self._num_dropped = 0

    async def get(self, keys: Sequence[bytes], entry_bytes: int, max_tokens: int = MOST_TOKENS) -> dict[bytes, bytes]:
        """The entries that are there and ours: of `entry_bytes`, of texts with at most `max_tokens`. Raises nothing."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), MOST_KEYS):
            asked = keys[start : start + MOST_KEYS]
            values = await self._call(self._read_part(asked), self._timeout_s) if self._breaker.allows() else None
            if values is None:
                break
            unsealed = {
                key: entry
                for key, value in zip(asked, values, strict=True)
                if (entry := unseal(key, value, entry_bytes)) is not None
            }
            sound = are_sound(list(unsealed.values()), entry_bytes, max_tokens)
            ours = {key: entry for (key, entry), is_sound in zip(unsealed.items(), sound, strict=True) if is_sound}
            self._num_refused += sum(value is not None for value in values) - len(ours)
            found |= ours
        self._num_hits += len(found)
        self._num_misses += len(keys) - len(found)
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Write entries when there is time, or drop them."""
        for key, entry in entries.items():
            if not self._breaker.is_closed or self._pending_bytes + len(entry) > PENDING_BYTES:
                self._num_dropped += 1
            elif key not in self._pending:
                self._pending[key] = entry
                self._pending_bytes += len(entry)
        if self._pending and (self._writer is None or self._writer.done()):
            self._writer = asyncio.create_task(self._write())

    def stats(self) -> StoreStats:
        return StoreStats(
            name=self._store.name,
            hits_total=self._num_hits,
            misses_total=self._num_misses,
            refused_total=self._num_refused,
            errors_total=self._num_errors,
            dropped_writes_total=self._num_dropped,
            is_asked=self._breaker.is_closed,
        )

    async def close(self) -> None:
        """Write what waits, as far as that goes in a second, and disconnect."""
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=GIVE_UP_S)
            self._writer.cancel()
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=GIVE_UP_S)
        await self._store.close()

    async def _write(self) -> None:
        while self._pending:
            part = dict(islice(self._pending.items(), MOST_ENTRIES))
            for key, entry in part.items():
                del self._pending[key]
                self._pending_bytes -= len(entry)
            is_written = False
            if self._breaker.is_closed:
                sealed = {key: seal(key, entry) for key, entry in part.items()}
                is_written = await self._call(self._write_part(sealed), 2 * GIVE_UP_S) is not None
            self._num_dropped += 0 if is_written else len(part)

    async def _read_part(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        values = await self._store.get(keys)
        if len(values) != len(keys) or not all(value is None or isinstance(value, bytes) for value in values):
            raise NonsenseError(f"{len(values)} values for {len(keys)} keys, or values of other types than bytes")
        return values

    async def _write_part(self, values: Mapping[bytes, bytes]) -> bool:
        await self._store.set(values)
        return True

    async def _call(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T | None:
        """What `work` returns, or None when it failed or took too long."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        task = loop.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=timeout_s)
        error = failure(task, timeout_s)
        if error is None:
            if self._breaker.succeeded():
                logger.info("The cache's store (%s) answers again.", self._store.name)
            return task.result()
        self._num_errors += 1
        logger.debug("The cache's store (%s) failed: %r", self._store.name, error)
        # A timer that rang late says that this process was busy, and nothing about the store.
        was_busy = not task.done() and loop.time() - started_s > 2 * timeout_s
        if not was_busy and self._breaker.failed():
            logger.warning(
                "The cache's store (%s) has failed several times (%r) and is tried again every %g s.",
                self._store.name,
                error,
                PAUSE_S,
            )
        return None

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks the error as seen, so that asyncio does not report it


def failure(task: asyncio.Task[Any], timeout_s: float) -> BaseException | None:
    """Why a task gave no result within its time, or None when it gave one."""
    if not task.done():
        return TimeoutError(f"no answer within {timeout_s * 1000:g} ms")
    return ConnectionError("its client gave up") if task.cancelled() else task.exception()
