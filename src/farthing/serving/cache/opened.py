"""A cache made from settings.

In: settings. Out: a `VectorCache`, or None where nothing is kept. What it takes of a model's memory is said in
`farthing.serving.cache.planned`.
"""

from __future__ import annotations

from farthing.core.settings import CacheSettings
from farthing.core.settings.cache import MEMCACHED_SCHEMES
from farthing.core.sizes import parse_bytes
from farthing.serving.cache.memory import MemoryLevel
from farthing.serving.cache.remote import RemoteLevel
from farthing.serving.cache.store import Store
from farthing.serving.cache.vectors import VectorCache

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


def own_memory_bytes(settings: CacheSettings) -> int:
    """The most that vectors may take in this process, whatever else it holds."""
    if settings.cache == "off":
        return 0
    return MEMORY_BYTES if settings.cache_memory == "auto" else parse_bytes(settings.cache_memory) or 0
