"""The levels of the cache one behind the other: this process, then the store that others share.

`open_cache` makes them from settings: a `VectorCache`, or None where nothing is kept. `why_absent` tells whether the
store answers at all. What the cache takes of a model's memory is told in `farthing.serving.cache.planned`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, wait

from farthing.core.settings import CacheSettings
from farthing.core.settings.cache import MEMCACHED_SCHEMES
from farthing.core.sizes import mebibytes, parse_bytes
from farthing.core.waiting import within
from farthing.serving.cache.entry import MOST_TOKENS
from farthing.serving.cache.memory import MemoryLevel
from farthing.serving.cache.remote import RemoteLevel
from farthing.serving.cache.store import GIVE_UP_S, CacheStats, CacheStore

# While a step to save memory is in force, this process holds this many times less.
SHORT_OF_MEMORY = 4
LOOK_S = 2 * GIVE_UP_S  # a client may look for the name, and then for the store
NO_KEY = bytes(16)
MAX_CHARS = 200  # of a client's own words
# The most that this process holds, where the settings do not say.
MEMORY_BYTES = 32 * 2**20


class VectorCache:
    """Entries by their keys: one cache for all models of a process, whose keys differ. `remote` may be None.

    Attributes:
        absent: why the store did not answer when the server started; empty where it did, or nobody has looked.
    """

    def __init__(self, memory: MemoryLevel, remote: RemoteLevel | None = None) -> None:
        self._memory, self._remote = memory, remote
        self.absent = ""

    @property
    def has_store(self) -> bool:
        return self._remote is not None

    def held(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The entries of these keys that are in this process."""
        return self._memory.get(keys)

    async def fetch(self, keys: Sequence[bytes], entry_bytes: int, max_tokens: int = MOST_TOKENS) -> dict[bytes, bytes]:
        """The entries that the store has; this process holds them from now on. Raises nothing.

        Entries of texts with more than `max_tokens` tokens are nothing that a model wrote.
        """
        found = await self._remote.get(keys, entry_bytes, max_tokens) if self._remote is not None else {}
        self._memory.put(found)
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Hold entries in this process, and write them to the store in the background."""
        self._memory.put(entries)
        if self._remote is not None:
            self._remote.put(entries)

    def on_memory_step(self, step: int) -> None:
        """Hold less while a step to save memory is in force. `ServedModel.on_memory_step` calls it, from any thread."""
        self._memory.trim(SHORT_OF_MEMORY if step else 1)

    def in_words(self) -> str:
        """The levels in words, for start-up output."""
        held = f"up to {mebibytes(self._memory.stats().limit_bytes)} in memory"
        if self._remote is None:
            return held
        name = self._remote.stats().name
        if not self.absent:
            return f"{held}, then {name}"
        return f"{held}; {name} does not answer now ({self.absent}) and is tried again while the server runs"

    def stats(self) -> CacheStats:
        return CacheStats(self._memory.stats(), None if self._remote is None else self._remote.stats())

    async def close(self) -> None:
        """Write what waits and disconnect from the store. It must run on the event loop that used the store."""
        if self._remote is not None:
            await self._remote.close()


def open_cache(settings: CacheSettings, memory_bytes: int) -> VectorCache | None:
    """The cache that the settings ask for, or None. Nothing is connected yet.

    Raises `MissingExtraError` when the store's client is not installed.
    """
    if settings.cache == "off":
        return None
    memory = MemoryLevel(memory_bytes)
    if settings.cache == "memory":
        return VectorCache(memory)
    return VectorCache(memory, RemoteLevel(open_store(settings), settings.cache_timeout_ms / 1000))


def open_store(settings: CacheSettings) -> CacheStore:
    if settings.scheme in MEMCACHED_SCHEMES:
        from farthing.serving.cache.memcached_store import MemcachedStore

        return MemcachedStore(settings.cache, settings.cache_ttl_s)
    from farthing.serving.cache.redis_store import RedisStore

    return RedisStore(settings.cache, settings.cache_ttl_s)


def why_absent(settings: CacheSettings) -> str:
    """Why the settings' store does not answer now; empty where it does, or there is none. Takes `LOOK_S` at most.

    A client of its own asks the store for one key, so that whatever a request would meet is met here: a wrong port or
    password, TLS that does not fit, an answer that makes no sense. For threads without an event loop.
    """
    if not settings.scheme:
        return ""
    found: Future[str] = Future()

    async def ask() -> None:
        store = open_store(settings)
        try:
            await within(LOOK_S, store.get([NO_KEY]))
        finally:
            await store.close()

    def look() -> None:
        try:
            asyncio.run(ask())
        except Exception as error:  # noqa: BLE001 - whatever its client raises is the answer
            found.set_result(" ".join(str(error).split())[:MAX_CHARS] or type(error).__name__)
        else:
            found.set_result("")

    # Nothing can end a search for a name that hangs: nobody waits for this thread for ever.
    threading.Thread(target=look, name="cache-look", daemon=True).start()
    done, _ = wait([found], LOOK_S)
    return found.result() if done else f"no answer within {LOOK_S:g} s"


def own_memory_bytes(settings: CacheSettings) -> int:
    """The most that vectors may take in this process, whatever else it holds."""
    if settings.cache == "off":
        return 0
    return MEMORY_BYTES if settings.cache_memory == "auto" else parse_bytes(settings.cache_memory) or 0
