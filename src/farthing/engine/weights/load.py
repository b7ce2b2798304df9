"""Loads a checkpoint folder as a model whose layers live where the plan says.

Weights are read through the page cache and converted one matrix at a time, so the peak while loading is the model plus
its largest matrix. A folder of quantised weights is used where it is mapped. Before anything is read, the tensors'
names, shapes and types are checked against the model's layout.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from farthing.core.deferred import dataclass
from farthing.core.settings import EngineSettings
from farthing.engine.computing import Computing, OnLayer
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.memory import trim_heap
from farthing.engine.native_model import NativeModel
from farthing.engine.plan.plan import Plan
from farthing.engine.weights.convert import ConvertedTensors
from farthing.engine.weights.quantised_folder import PreparedTensors
from farthing.engine.weights.tensors import ModelTensors
from farthing.models.family import Family
from farthing.models.forward.heads import Head, Task
from farthing.models.spec import EmbeddingSpec, ModelSpec


@dataclass(frozen=True)
class LoadedModel:
    """A model on its devices."""

    description: ModelDescription
    fingerprint: str
    computing: Computing

    @property
    def family(self) -> Family:
        return self.description.family

    @property
    def spec(self) -> ModelSpec:
        return self.description.spec

    @property
    def embedding(self) -> EmbeddingSpec:
        return self.description.embedding

    @property
    def head(self) -> Head | None:
        return self.description.head

    def without_head(self) -> LoadedModel:
        """The same weights without the head, so that they make pooled rows."""
        return replace(self, description=replace(self.description, head=None))

    @property
    def plan(self) -> Plan:
        return self.description.plan


def load_weights(description: ModelDescription, on_layer: OnLayer = lambda *_: None) -> LoadedModel:
    """Load the weights of a described model.

    Args:
        on_layer: called after each layer with the number of layers that are loaded, and of all layers.

    Raises `CheckpointError` when the tensors do not fit the description.
    """
    tensors = model_tensors(description)
    if description.plan.is_native:
        return LoadedModel(description, fingerprint(description), NativeModel(description, tensors, on_layer))
    from farthing.engine.cards.model import TorchModel

    return LoadedModel(description, fingerprint(description), TorchModel(description, tensors, on_layer))


def load_model(path: Path, settings: EngineSettings, task: Task | None = "embed") -> LoadedModel:
    """Describe a model and load its weights; raises what `describe_model` and `load_weights` raise."""
    return load_weights(describe_model(path, settings, task))


def model_tensors(description: ModelDescription) -> ModelTensors:
    return PreparedTensors(description) if description.manifest else ConvertedTensors(description)


def fingerprint(description: ModelDescription) -> str:
    """The model's identity, with the format's name where rounding makes the vectors a space of their own.

    It is the same whether the weights were quantised now or come from a folder. Models of the same format that have
    other matrices in a finer format are spaces of their own.
    """
    source, form = description.identity, description.plan.format
    return "-".join((source, form.name, *description.layout.finer_parts(form))) if form.quantises else source


def release_cached(plan: Plan) -> None:
    """Give back the memory that allocators keep for later, on the host and on the plan's cards."""
    trim_heap()
    if plan.on_card:
        from farthing.engine.cards.model import release_cached as release_on_cards

        release_on_cards()
