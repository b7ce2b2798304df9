"""The models of a server: which there are, and how each is loaded inside one memory.

In: their names and the settings. Out: an `Embedder` or a `Reranker` for each, loaded in the order fallback, reranker,
model, so that the plan of each counts what is left. Everything that imports torch is imported when it is called.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farthing.core.errors import SettingsError
from farthing.core.resolve import Resolved
from farthing.core.settings import EngineSettings, ServerSettings, ServingSettings, SourceSettings, UpstreamSettings

if TYPE_CHECKING:
    from farthing.models.heads import Task
    from farthing.serving.embedder import Embedder
    from farthing.serving.reranker import Reranker
    from farthing.sources.find import ModelSource
    from farthing.upstream.embedder import UpstreamEmbedder
    from farthing.upstream.reranker import UpstreamReranker


class Models:
    """`settings` has every group."""

    def __init__(self, model: str, settings: Resolved) -> None:
        self._model = model
        self._source, self._engine = settings.group(SourceSettings), settings.group(EngineSettings)
        self._serving, self._settings = settings.group(ServingSettings), settings.group(ServerSettings)
        self._upstream = settings.group(UpstreamSettings)
        self._found: dict[str, ModelSource] = {}
        self._planned = self._engine  # what is left of the memory for what is loaded next

    def load(self) -> Embedder | Reranker:
        """The model itself, by its task. Raises what loading it raises."""
        if self._upstream.is_used:
            return self._load_upstream()  # type: ignore[return-value]
        from farthing.engine.task import task_of
        from farthing.serving.embedder import Embedder
        from farthing.serving.reranker import Reranker

        found = self._find(self._model)
        task = self._settings.task
        if task == "auto":
            task = task_of(found.path)
        if task == "embed":
            return Embedder.from_settings(
                self._model, self._source, self._engine, self._serving,
                found=found, may_round=True, planned=self._planned,
            )  # fmt: skip
        if self._settings.reranker is not None:
            raise SettingsError(
                f"{self._model} is a reranker, and {self._settings.reranker} was given as one too (--reranker). Give "
                "one of them, or an embedding model and one of them.",
                param="reranker",
            )
        return Reranker.from_settings(
            self._model, self._source, self._engine, self._serving, found=found, planned=self._planned
        )

    def _load_upstream(self) -> UpstreamEmbedder | UpstreamReranker:
        from farthing.upstream.open import open_upstream

        task: Task = "rerank" if self._settings.task == "rerank" else "embed"
        return open_upstream(self._model, self._upstream, self._source, self._engine, self._serving, task=task)

    def load_reranker(self) -> Reranker:
        """The one beside the model. It watches no memory: the model beside it gives way for both."""
        from farthing.serving.reranker import Reranker

        assert self._settings.reranker is not None
        mine, self._planned = self._share()
        serving = replace(self._serving, memory_steps="off")
        name = self._settings.reranker
        return Reranker.from_settings(name, self._source, mine, serving, found=self._find(name))

    def load_fallback(self) -> Embedder:
        """The small model for requests that take any."""
        from farthing.engine.budget import less_memory
        from farthing.serving.embedder import Embedder

        assert self._serving.fallback_model is not None
        own = replace(self._engine, format="auto", residency="auto", context_length=None, max_batch_tokens=None)
        serving = replace(self._serving, memory_steps="off")
        small = Embedder.from_settings(self._serving.fallback_model, self._source, own, serving)
        self._planned = less_memory(self._engine, small.plan.ledger.own_bytes(small.plan.main_place))
        return small

    def _find(self, name: str) -> ModelSource:
        """Where a model is; hubs are asked once."""
        from farthing.sources.find import find_model

        if name not in self._found:
            self._found[name] = find_model(name, self._source)
        return self._found[name]

    def _share(self) -> tuple[EngineSettings, EngineSettings]:
        """Settings to plan the reranker and the model with."""
        if self._upstream.is_used:  # the model holds no memory of ours
            return self._planned, self._planned
        from farthing.engine.budget import budget_bytes
        from farthing.engine.describe import read_shape
        from farthing.engine.device import device_facts
        from farthing.engine.share import Sharer, share_memory

        name = self._settings.reranker
        assert name is not None
        shape, own = read_shape(self._find(name).path, self._planned, "rerank")
        if own.context_length is not None:  # a limit for both; a reranker's own may be less
            own = replace(own, context_length=min(own.context_length, shape.max_tokens))
        facts = device_facts(self._engine.device)
        budget = budget_bytes(self._planned, facts)
        if budget is None:
            return own, self._planned
        other, settings = read_shape(self._find(self._model).path, self._planned)
        return share_memory(Sharer(name, shape, own), Sharer(self._model, other, settings), facts, budget)
