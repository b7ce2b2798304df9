"""The models of a server: the task of each, its part of the memory, and how it is loaded.

In: the configurations of the models. Out: an entry for each (`farthing.server.models.slot`), whose function loads an
`Embedder` or a `Reranker` inside its part of the memory. `prepare`, called once before the first of them is loaded,
looks for all models, finds out their tasks, and shares the memory. Modules that import torch are imported only when
they are needed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from farthing.core.errors import DoesNotFitError, SettingsError
from farthing.core.models_file import ModelConfig
from farthing.core.progress import OnStep
from farthing.core.settings import (
    CacheSettings,
    EngineSettings,
    ServerSettings,
    ServingSettings,
    SourceSettings,
    UpstreamSettings,
)
from farthing.server.limits.request_memory import MEMORY_SHARE, MOST_BYTES, RequestMemory
from farthing.server.models.slot import ModelEntry

if TYPE_CHECKING:
    from farthing.engine.plan.device import DeviceFacts
    from farthing.engine.plan.split_memory import Sharer
    from farthing.serving.backend import Backend, EmbedBackend
    from farthing.serving.cache.vectors import VectorCache
    from farthing.sources.local import ModelSource

logger = logging.getLogger(__name__)

LOGGED_EVERY_S = 3.0
# The memory that a server with indexes holds beside its models: LanceDB and its buffers (240 MiB were measured while an
# index was filled and searched, and hostile documents make it more), and the process that splits documents.
INDEX_BYTES = (320 + 128) * 2**20
# The share of a larger memory that requests and the cache take for themselves.
BESIDE_SHARE = 1 / MEMORY_SHARE + 1 / 64


class Models:
    """Loads the models and shares the memory among them.

    Args:
        configs: the models; the first that makes vectors watches the memory for all of them.
        engine: the settings of the whole process; their `memory` is what all models share.
        caching: the settings of the cache of vectors; None keeps no vectors.
        requests: the memory of requests in work, by `server`; its limit is set when the memory is known.

    Attributes:
        cache: keeps vectors for all models; None until `prepare` has opened it, and where no vectors are kept.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        engine: EngineSettings,
        caching: CacheSettings | None = None,
        requests: RequestMemory | None = None,
        server: ServerSettings | None = None,
    ) -> None:
        self.cache: VectorCache | None = None
        self._configs, self._engine = tuple(configs), engine
        self._caching = caching or CacheSettings(cache="off")
        self._found: dict[str, ModelSource] = {}
        self._planned: dict[str, EngineSettings] = {}
        self._requests, self._server = requests, server or ServerSettings()
        self._for_models = engine  # what the cache and requests leave to the models
        self._beside_bytes: dict[str, int] = {}  # what they take of one model's memory; under "", of all models'
        self.entries = tuple(
            ModelEntry(
                config.name,
                partial(self._load, config),
                aliases=config.own.aliases,
                keep_alive_s=config.own.keep_alive_s,
                preload=config.own.preload,
                place=partial(self._place, config.name),
            )
            for config in configs
        )

    def prepare(self) -> None:
        """Look for the models, and download those that are missing. Raises `ModelError`, `SettingsError`."""
        for config, entry in zip(self._configs, self.entries, strict=True):
            task = config.own.model_task
            entry.task = "rerank" if task == "rerank" else "embed"
            if is_local(config):
                from farthing.engine.task import task_of
                from farthing.sources.find import find_model

                self._found[config.name] = found = find_model(config.source, config.settings.group(SourceSettings))
                entry.task = task_of(found.path) if task == "auto" else entry.task
        self._open_cache()
        if len(self._found) > 1:
            self._share_memory()

    def look_for_store(self) -> None:
        """Find out whether the cache's store answers, for the lines printed at the start. Takes seconds at most."""
        if self.cache is None or not self.cache.has_store:
            return
        from farthing.serving.cache.vectors import why_absent

        self.cache.absent = why_absent(self._caching)
        if self.cache.absent:
            logger.warning(
                "The cache's store does not answer (%s). The server goes on without it and tries it again.",
                self.cache.absent,
            )

    def _place(self, name: str) -> str:
        """Return the folder of a model's files, or the folder of its GGUF file; empty while it is not known."""
        if name not in self._found:
            return ""
        path = self._found[name].path
        return str(path.parent if path.is_file() else path)

    def _open_cache(self) -> None:
        """Open the cache, and note what it and requests leave to the models. Raises `MissingExtraError`."""
        from farthing.serving.cache.vectors import open_cache, own_memory_bytes

        if not self._found:  # nothing is computed here, so that nothing of the engine is needed
            self.cache = open_cache(self._caching, own_memory_bytes(self._caching))
            return
        from farthing.engine.plan.device import device_facts
        from farthing.serving.cache.planned import memory_bytes, reserved_bytes

        facts = device_facts(self._engine.device)
        self.cache = open_cache(self._caching, memory_bytes(self._caching, self._engine, facts))
        requests_bytes = self._plan_requests(facts)
        self._beside_bytes[""] = reserved_bytes(self._caching, self._engine, facts) + requests_bytes
        self._for_models = self._engine.less_memory(self._beside_bytes[""])
        for config in self._configs:  # the settings that a single model is planned with
            own = config.settings.group(EngineSettings)
            beside_bytes = reserved_bytes(self._caching, own, facts) + requests_bytes
            self._beside_bytes[config.name] = beside_bytes
            self._planned[config.name] = own.less_memory(beside_bytes)

    def _plan_requests(self, facts: DeviceFacts) -> int:
        """Set the limit of what requests may hold.

        Returns the bytes that requests and indexes take of the memory that models are planned with.
        """
        from farthing.engine.plan.budget import budget_bytes, host_budget_bytes

        if self._requests is None:
            return 0
        if self._server.request_memory == "auto":
            budget = (budget_bytes if not facts.on_card else host_budget_bytes)(self._engine, facts)
            if budget is not None:
                self._requests.limit_bytes = min(MOST_BYTES, budget // MEMORY_SHARE)
        if facts.on_card:
            return 0
        return self._requests.limit_bytes + (INDEX_BYTES if self._server.index_folder is not None else 0)

    def _share_memory(self) -> None:
        from farthing.engine.plan.budget import budget_bytes
        from farthing.engine.plan.device import device_facts
        from farthing.engine.plan.split_memory import share_memory

        facts = device_facts(self._engine.device)
        sharing = [index for index, config in enumerate(self._configs) if is_local(config)]
        devices = {self._configs[index].settings.group(EngineSettings).device for index in sharing}
        budget = budget_bytes(self._for_models, facts)
        if len(devices) > 1:
            raise SettingsError(
                f"The models are to run on different devices ({', '.join(sorted(devices))}). One memory plan is for "
                "one device; serve them in a process for each.",
                param="device",
            )
        sharers = [self._sharer(index) for index in sharing]
        with self._beside_told("", self._engine, self._for_models):
            parts = [sharer.settings for sharer in sharers] if budget is None else share_memory(sharers, facts, budget)
        self._planned = {sharer.name: part for sharer, part in zip(sharers, parts, strict=True)}

    @contextmanager
    def _beside_told(self, name: str, given: EngineSettings, planned: EngineSettings) -> Iterator[None]:
        """Make an error in planning a model, or all (""), tell what the cache and requests take of the memory."""
        try:
            yield
        except DoesNotFitError as error:
            if planned.memory == given.memory:
                raise
            raise error.beside(given.memory, self._beside_bytes[name], BESIDE_SHARE) from error

    def _sharer(self, index: int) -> Sharer:
        from farthing.engine.describe import read_shape
        from farthing.engine.plan.split_memory import Sharer

        config, task = self._configs[index], self.entries[index].task
        settings = config.settings.group(EngineSettings)
        shape, settings = read_shape(self._found[config.name].path, settings, task)
        if settings.context_length is not None:  # this limit is for all models; a model's own may be lower
            settings = replace(settings, context_length=min(settings.context_length, shape.max_tokens))
        return Sharer(config.name, shape, settings, config.own.memory_share, config.has_own_memory)

    def _load(self, config: ModelConfig) -> Backend:
        """Load a model. Raises what loading a model raises."""
        backend = self._load_local(config) if is_local(config) else self._open_upstream(config)
        requests = self._requests
        if requests is not None and backend.local is not None:
            backend.local.count_requests(lambda: requests.used_bytes)
        if self.cache is None or backend.task != "embed":
            return backend
        from farthing.serving.cache.embedder import CachedEmbedder

        if backend.local is not None:
            backend.local.on_memory_step(self.cache.on_memory_step)
        return CachedEmbedder(cast("EmbedBackend", backend), self.cache, config.settings.group(ServingSettings))

    def _open_upstream(self, config: ModelConfig) -> Backend:
        from farthing.upstream.open import open_upstream

        settings = config.settings
        return open_upstream(
            config.source,
            settings.group(UpstreamSettings),
            settings.group(SourceSettings),
            settings.group(EngineSettings),
            settings.group(ServingSettings),
            task="rerank" if config.own.model_task == "rerank" else "embed",
        )

    def _load_local(self, config: ModelConfig) -> Backend:
        from farthing.serving.embedder import Embedder
        from farthing.serving.reranker import Reranker

        source, own = config.settings.group(SourceSettings), config.settings.group(EngineSettings)
        serving = config.settings.group(ServingSettings)
        watches = config is self._watching()
        if not watches:
            serving = replace(serving, memory_steps="off")
        task = next(entry.task for entry in self.entries if entry.name == config.name)
        opened: type[Embedder] | type[Reranker] = Embedder if task == "embed" else Reranker
        is_alone = len(self._found) == 1
        planned = self._planned.get(config.name, own)
        with self._beside_told(config.name, own, planned if is_alone else own):  # for several, `_share_memory` does
            return opened.from_settings(
                config.source,
                source,
                own if is_alone else replace(own, memory=self._engine.memory),
                serving,
                found=self._found[config.name],
                may_round=watches and task == "embed",
                planned=planned,
                on_step=logged(),
            )

    def _watching(self) -> ModelConfig:
        """Return the model that gives way when memory is short: the first that makes vectors, or else the first."""
        pairs = [pair for pair in zip(self._configs, self.entries, strict=True) if is_local(pair[0])]
        return next((config for config, entry in pairs if entry.task == "embed"), pairs[0][0])


def logged() -> OnStep:
    """Return a function that is told how far a model is, and logs it now and then: a large one takes minutes."""
    latest, said = time.monotonic(), ""

    def on_step(what: str, done: int, total: int) -> None:
        nonlocal latest, said
        is_new = what != said and not what.startswith("Loading")
        if is_new or time.monotonic() - latest >= LOGGED_EVERY_S:
            latest, said = time.monotonic(), what
            logger.info("%s: %d%%", what, 100 * done // max(1, total))

    return on_step


def is_local(config: ModelConfig) -> bool:
    """Return whether the model is computed in this process."""
    return not config.settings.group(UpstreamSettings).is_used
