"""Metrics of the models, the memory and the cache of vectors, which are read when somebody asks for them.

In: the state of each model and of the memory, and the counts of the cache. Out: metric families.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from farthing.core.deferred import dataclass
from farthing.core.version import __version__, installed_version
from farthing.server.observe.metrics import catalogue
from farthing.server.observe.metrics.metric import Family
from farthing.serving.cache.store import CacheStats, StoreStats
from farthing.serving.stats import ServingStats

if TYPE_CHECKING:
    from farthing.server.limits.request_memory import RequestMemory
    from farthing.serving.backend import Backend
    from farthing.serving.governor import MemoryState


@dataclass(frozen=True)
class ModelState:
    """The state of a model.

    Attributes:
        name: what clients call the model.
        loaded: whether the model is loaded now; only then do the other fields hold, except for the counters.
        planned_bytes: the bytes of the plan in force, by entry and place.
    """

    name: str
    stats: ServingStats
    loaded: bool = False
    device: str = ""
    format: str = ""
    ready: bool = False
    planned_bytes: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerState:
    """What the metrics tell of a server.

    Attributes:
        memory: None where nobody watches it.
        cache: None where nothing is kept.
        requests: None where nobody counts what they hold.
    """

    ready: bool = False
    models: Sequence[ModelState] = ()
    memory: MemoryState | None = None
    cache: CacheStats | None = None
    requests: RequestMemory | None = None


def model_state(name: str, backend: Backend | None, stats: ServingStats) -> ModelState:
    """Return how a model is now; `stats` also counts what the model did before it was unloaded."""
    if backend is None:
        return ModelState(name, stats)
    facts = backend.facts()
    return ModelState(
        name=name,
        loaded=True,
        device=facts.get("device", ""),
        format=facts.get("format", ""),
        ready=backend.health().ready,
        stats=stats,
        planned_bytes={} if backend.local is None else backend.local.planned_bytes(),
    )


class StateCollector(Collector):
    def __init__(self, read_state: Callable[[], ServerState]) -> None:
        self._read_state = read_state
        self._build = (__version__, platform.python_version(), installed_version("torch") or "none")

    def collect(self) -> Iterator[Family]:
        state = self._read_state()
        yield catalogue.BUILD_INFO.family([(self._build, 1)])
        yield catalogue.READY.family([((), state.ready)])
        if state.requests is not None:
            yield catalogue.REQUEST_MEMORY_BYTES.family([((), state.requests.used_bytes)])
            yield catalogue.REQUEST_MEMORY_LIMIT_BYTES.family([((), state.requests.limit_bytes)])
            yield catalogue.REQUESTS_GAVE_WAY.family([((), state.requests.dropped_total)])
        yield from model_families(state.models)
        if state.memory is not None:
            yield from memory_families(state.memory)
        if state.cache is not None:
            yield from cache_families(state.cache)


def model_families(models: Sequence[ModelState]) -> Iterator[Family]:
    loaded = [model for model in models if model.loaded]
    yield catalogue.MODEL_INFO.family(((model.name, model.device, model.format), 1) for model in loaded)
    yield catalogue.WORKER_READY.family(((model.name,), model.ready) for model in loaded)
    yield from queue_families(models)
    for name, metric in catalogue.STATS.items():
        yield metric.family(((model.name,), getattr(model.stats, name)) for model in models)
    yield catalogue.PLANNED_BYTES.family(
        ((model.name, *entry), num_bytes) for model in models for entry, num_bytes in model.planned_bytes.items()
    )


def queue_families(models: Sequence[ModelState]) -> Iterator[Family]:
    """Yield, by lane, what waits in the queue, and for how long."""
    texts: dict[tuple[str, str], float] = {}
    tokens: dict[tuple[str, str], float] = {}
    waits: dict[tuple[str, str], float] = {}
    for model in models:
        stats, interactive, bulk = model.stats, (model.name, "interactive"), (model.name, "bulk")
        texts |= {interactive: stats.waiting_texts - stats.waiting_bulk_texts, bulk: stats.waiting_bulk_texts}
        tokens |= {interactive: stats.waiting_tokens - stats.waiting_bulk_tokens, bulk: stats.waiting_bulk_tokens}
        waits |= {interactive: stats.expected_wait_s, bulk: stats.expected_bulk_wait_s}
    yield catalogue.WAITING_TEXTS.family(texts.items())
    yield catalogue.WAITING_TOKENS.family(tokens.items())
    yield catalogue.EXPECTED_WAIT_SECONDS.family(waits.items())


def memory_families(memory: MemoryState) -> Iterator[Family]:
    yield catalogue.MEMORY_STEP.family([((), memory.step)])
    steps = {"down": memory.steps_down_total, "up": memory.steps_up_total}
    yield catalogue.MEMORY_STEPS.family(((direction,), count) for direction, count in steps.items())
    readings = memory.readings
    yield catalogue.MEMORY_USED_BYTES.family(((reading.place,), reading.used_bytes) for reading in readings)
    yield catalogue.MEMORY_LIMIT_BYTES.family(((reading.place,), reading.limit_bytes) for reading in readings)


def cache_families(stats: CacheStats) -> Iterator[Family]:
    """Yield the metrics of the level in memory, and of the store behind it where there is one."""
    memory, store = stats.memory, stats.store
    hits = {"memory": memory.hits_total} | ({store.name: store.hits_total} if store else {})
    misses = {"memory": memory.misses_total} | ({store.name: store.misses_total} if store else {})
    yield catalogue.CACHE_HITS.family(((level,), count) for level, count in hits.items())
    yield catalogue.CACHE_MISSES.family(((level,), count) for level, count in misses.items())
    yield catalogue.CACHE_ENTRIES.family([((), memory.entries)])
    yield catalogue.CACHE_BYTES.family([((), memory.held_bytes)])
    yield catalogue.CACHE_LIMIT_BYTES.family([((), memory.limit_bytes)])
    yield catalogue.CACHE_EVICTIONS.family([((), memory.evictions_total)])
    if store is not None:
        yield from store_families(store)


def store_families(store: StoreStats) -> Iterator[Family]:
    level = (store.name,)
    yield catalogue.CACHE_ERRORS.family([(level, store.errors_total)])
    yield catalogue.CACHE_REFUSED.family([(level, store.refused_total)])
    yield catalogue.CACHE_DROPPED_WRITES.family([(level, store.dropped_writes_total)])
    yield catalogue.CACHE_STORE_UP.family([(level, store.is_asked)])
