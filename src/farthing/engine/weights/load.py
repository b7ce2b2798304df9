"""Loads a checkpoint folder as a model whose layers live where the plan says.

Weights are read through the page cache and converted one matrix at a time, so the peak while loading is the model plus
its largest matrix. A folder of quantised weights is used where it is mapped. Before anything is read, the tensors'
names, shapes and types are checked against the model's layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from farthing.checkpoint.table import Table
from farthing.core.settings import EngineSettings
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.memory import trim_heap
from farthing.engine.plan.plan import Plan
from farthing.engine.plan.run_mode import Residency
from farthing.engine.weights.convert import ConvertedTensors, rotates_inputs
from farthing.engine.weights.quantised_folder import PreparedTensors
from farthing.engine.weights.store import HostStore, ResidentStore, StreamedStore, WeightStore
from farthing.engine.weights.tensors import ModelTensors
from farthing.models.family import Family
from farthing.models.forward.forward_pass import LayerWeights
from farthing.models.forward.heads import Head, Task
from farthing.models.layout import Layout, MatrixPart
from farthing.models.spec import EmbeddingSpec, ModelSpec
from farthing.quant.format import Linear, Region
from farthing.quant.rotation import RotatedLinear

OnLayer = Callable[[int, int], object]
BIAS = "bias"  # the bias's name beside those that a format's `pack` gives


@dataclass(frozen=True)
class LoadedModel:
    """A model on its device."""

    description: ModelDescription
    fingerprint: str
    store: WeightStore

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
    tensors, layout, plan = model_tensors(description), description.layout, description.plan
    makers: dict[Residency, Callable[[ModelTensors, Layout, Plan, OnLayer], WeightStore]]
    makers = {"resident": resident_store, "host": host_store, "disk": streamed_store}
    return LoadedModel(description, fingerprint(description), makers[plan.residency](tensors, layout, plan, on_layer))


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


def resident_store(tensors: ModelTensors, layout: Layout, plan: Plan, on_layer: OnLayer) -> ResidentStore:
    layers: list[LayerWeights] = []
    for name, indices in plan.shares(layout.num_layers):
        regions = layer_regions(layout)
        for index in indices:
            layers.append(bound_layer(tensors, layout, index, plan, regions, torch.device(name)))
            trim_heap()
            on_layer(len(layers), layout.num_layers)
    device = torch.device(plan.device)
    return ResidentStore(token_table(tensors, plan), tensors.shared(), layers, device, keeps_table=keeps_pages(plan))


def host_store(tensors: ModelTensors, layout: Layout, plan: Plan, on_layer: OnLayer) -> HostStore:
    """A store of layers in pinned host memory, in their format."""
    regions, layers = layer_regions(layout), []
    for index in range(layout.num_layers):
        found = {part.name: matrix_tensors(tensors, index, part) for part in layout.matrices}
        found["vectors"] = tensors.vectors(index)
        layers.append({(group, name): pinned(tensor) for group, held in found.items() for name, tensor in held.items()})
        trim_heap()
        on_layer(index + 1, layout.num_layers)

    def bind(found: Mapping[tuple[str, str], torch.Tensor]) -> LayerWeights:
        def held(group: str) -> dict[str, torch.Tensor]:
            return {name: tensor for (of, name), tensor in found.items() if of == group}

        matrices = {
            part.name: bound_matrix(held(part.name), part, plan, regions[part.name]) for part in layout.matrices
        }
        return LayerWeights(matrices, held("vectors"))

    return HostStore(token_table(tensors, plan), tensors.shared(), layers, bind, torch.device(plan.device))


def token_table(tensors: ModelTensors, plan: Plan) -> Table:
    """The token table: on the card where the plan keeps it there, otherwise where it is mapped."""
    table = tensors.table()
    return table.to(plan.device) if plan.keeps_table and isinstance(table, torch.Tensor) else table


def keeps_pages(plan: Plan) -> bool:
    """Whether pages of the mapped token table stay in memory: where a card's memory is short, the host's is not."""
    return plan.keeps_table or plan.main_place == "device"


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in host memory that a card can copy from while it computes."""
    tensor = tensor.cpu()
    return tensor.pin_memory() if torch.cuda.is_available() else tensor


def streamed_store(tensors: ModelTensors, layout: Layout, plan: Plan, _: OnLayer) -> StreamedStore:
    """A store that keeps nothing but small vectors: each pass takes its layers from the file one by one."""
    regions, device = layer_regions(layout), torch.device(plan.device)

    def make_layer(index: int) -> LayerWeights:
        trim_heap()
        return bound_layer(tensors, layout, index, plan, regions, device)

    return StreamedStore(
        token_table(tensors, plan),
        tensors.shared(),
        make_layer,
        tensors.mapped,
        layout.num_layers,
        device,
        keeps_table=keeps_pages(plan),
    )


def layer_regions(layout: Layout) -> Mapping[str, Region]:
    """The regions into which formats unpack one layer's matrices, where they do so; nothing is allocated yet."""
    return {part.name: Region() for part in layout.matrices}


def bound_layer(
    tensors: ModelTensors,
    layout: Layout,
    index: int,
    plan: Plan,
    regions: Mapping[str, Region],
    device: torch.device,
) -> LayerWeights:
    """The weights of a layer on a device, made one matrix after the other, so that no more than one is there twice."""
    matrices = {
        part.name: bound_matrix(moved(matrix_tensors(tensors, index, part), device), part, plan, regions[part.name])
        for part in layout.matrices
    }
    return LayerWeights(matrices, moved(tensors.vectors(index), device))


def moved(tensors: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def matrix_tensors(tensors: ModelTensors, index: int, part: MatrixPart) -> dict[str, torch.Tensor]:
    """The tensors that a matrix is stored in, and its bias."""
    bias = tensors.bias(index, part)
    return {**tensors.packed(index, part), **({} if bias is None else {BIAS: bias})}


def bound_matrix(found: Mapping[str, torch.Tensor], part: MatrixPart, plan: Plan, region: Region) -> Linear:
    packed = {name: tensor for name, tensor in found.items() if name != BIAS}
    linear = part.stored_in(plan.format).linear(packed, found.get(BIAS), part.shape, region)
    return RotatedLinear(linear) if rotates_inputs(plan.format, part) else linear
