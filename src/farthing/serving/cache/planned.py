"""How much the cache takes of the memory that models are planned with. Plain arithmetic."""

from __future__ import annotations

from farthing.core.settings import CacheSettings, EngineSettings
from farthing.engine.plan.budget import budget_bytes, host_budget_bytes
from farthing.engine.plan.device import DeviceFacts
from farthing.serving.cache.remote import PENDING_BYTES
from farthing.serving.cache.vectors import own_memory_bytes

MEMORY_SHARE = 64  # the cache holds at most this part of the memory, unless the settings say otherwise


def memory_bytes(settings: CacheSettings, engine: EngineSettings, facts: DeviceFacts) -> int:
    """The most that vectors may take in this process."""
    own = own_memory_bytes(settings)
    if settings.cache_memory != "auto":
        return own
    budget = budget_bytes(engine, facts) if not facts.on_card else host_budget_bytes(engine, facts)
    return own if budget is None else min(own, budget // MEMORY_SHARE)


def reserved_bytes(settings: CacheSettings, engine: EngineSettings, facts: DeviceFacts) -> int:
    """The most that the cache and its unwritten entries take of the memory that a model is planned with."""
    if facts.on_card:
        return 0
    return memory_bytes(settings, engine, facts) + (PENDING_BYTES if settings.scheme else 0)
