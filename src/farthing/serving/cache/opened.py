"""A cache made from settings.

In: settings. Out: a `VectorCache`, or None where nothing is kept; and whether its store answers at all. What it takes
of a model's memory is said in `farthing.serving.cache.planned`.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, wait

from farthing.core.settings import CacheSettings
from farthing.core.settings.cache import MEMCACHED_SCHEMES
from farthing.core.sizes import parse_bytes
from farthing.core.waiting import within
from farthing.serving.cache.memory import MemoryLevel
from farthing.serving.cache.remote import RemoteLevel
from farthing.serving.cache.store import GIVE_UP_S, Store
from farthing.serving.cache.vectors import VectorCache

LOOK_S = 2 * GIVE_UP_S  # a client may look for the name, and then for the store
NO_KEY = bytes(16)
MAX_CHARS = 200  # of a client's own words

# What is held by itself in this process.
MEMORY_BYTES = 32 * 2**20


def open_cache(settings: CacheSettings, memory_bytes: int) -> VectorCache | None:
    """Nothing is connected yet. Raises `MissingExtraError` when the store's client is not installed."""
    if settings.cache == "off":
        return None
    memory = MemoryLevel(memory_bytes)
    if settings.cache == "memory":
        return VectorCache(memory)
    return VectorCache(memory, RemoteLevel(open_store(settings), settings.cache_timeout_ms / 1000))


def open_store(settings: CacheSettings) -> Store:
    if settings.scheme in MEMCACHED_SCHEMES:
        from farthing.serving.cache.memcached_store import MemcachedStore

        return MemcachedStore(settings.cache, settings.cache_ttl_s)
    from farthing.serving.cache.redis_store import RedisStore

    return RedisStore(settings.cache, settings.cache_ttl_s)


def why_absent(settings: CacheSettings) -> str:
    """Why the settings' store does not answer now; empty where it does, or there is none. Takes `LOOK_S` at most.

    It is asked for one key by a client of its own, so that whatever a request would meet is met here: a wrong port or
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
