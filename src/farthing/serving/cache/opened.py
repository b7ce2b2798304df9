"""A cache made from settings, and what it takes of the memory.

In: settings. Out: a `VectorCache`, or None where nothing is kept, and bytes to leave out of a model's plan.
"""

from __future__ import annotations

from farthing.core.settings import CacheSettings, EngineSettings
from farthing.core.settings.cache import MEMCACHED_SCHEMES
from farthing.core.sizes import parse_bytes
from farthing.engine.budget import budget_bytes, host_budget_bytes
from farthing.engine.device import DeviceFacts
from farthing.serving.cache.memory import MemoryLevel
from farthing.serving.cache.remote import PENDING_BYTES, RemoteLevel
from farthing.serving.cache.store import Store
from farthing.serving.cache.vectors import VectorCache

# What is held by itself in this process, and never more than this part of the memory.
MEMORY_BYTES = 32 * 2**20
MEMORY_SHARE = 64


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


def memory_bytes(settings: CacheSettings, engine: EngineSettings, facts: DeviceFacts) -> int:
    """The most that vectors may take in this process."""
    if settings.cache == "off":
        return 0
    if settings.cache_memory != "auto":
        return parse_bytes(settings.cache_memory) or 0
    budget = budget_bytes(engine, facts) if facts.is_cpu else host_budget_bytes(engine, facts)
    return MEMORY_BYTES if budget is None else min(MEMORY_BYTES, budget // MEMORY_SHARE)


def reserved_bytes(settings: CacheSettings, engine: EngineSettings, facts: DeviceFacts) -> int:
    """What the cache and its unwritten entries may take of the memory that a model is planned with."""
    if not facts.is_cpu:
        return 0
    return memory_bytes(settings, engine, facts) + (PENDING_BYTES if settings.scheme else 0)
