"""From a checkpoint folder to a model whose layers live where the plan says.

Weights are read through the page cache and converted one matrix at a time, so the peak while loading is the model plus
its largest matrix; a folder of quantised weights is used where it is mapped. Before anything is read, the tensors'
names, shapes and types are checked against the model's layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from farthing.core.settings import EngineSettings
from farthing.engine.convert import ConvertedTensors, rotates_inputs
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.memory import trim_heap
from farthing.engine.plan import Plan
from farthing.engine.prepared import PreparedTensors
from farthing.engine.store import ResidentStore, StreamedStore, WeightStore
from farthing.engine.tensors import ModelTensors
from farthing.models.family import Family, LayerWeights
from farthing.models.layout import Layout, MatrixPart
from farthing.models.spec import EmbeddingSpec, ModelSpec
from farthing.quant.format import Linear
from farthing.quant.region import Region
from farthing.quant.rotation import RotatedLinear


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
    def plan(self) -> Plan:
        return self.description.plan


def load_weights(description: ModelDescription) -> LoadedModel:
    """Raises `CheckpointError` when the tensors do not fit the description."""
    tensors, layout, plan = model_tensors(description), description.layout, description.plan
    store = streamed_store if plan.residency == "disk" else resident_store
    return LoadedModel(description, fingerprint(description), store(tensors, layout, plan))


def load_model(path: Path, settings: EngineSettings) -> LoadedModel:
    """Both steps; raises what they raise."""
    return load_weights(describe_model(path, settings))


def model_tensors(description: ModelDescription) -> ModelTensors:
    return PreparedTensors(description) if description.manifest else ConvertedTensors(description)


def fingerprint(description: ModelDescription) -> str:
    """The checkpoint's; with the format's name where rounding makes the vectors a space of their own.

    It is the same whether the weights were quantised now or come from a folder.
    """
    manifest, form = description.manifest, description.plan.format
    source = manifest.source_fingerprint if manifest else description.checkpoint.fingerprint
    return f"{source}-{form.name}" if form.quantises else source


def resident_store(tensors: ModelTensors, layout: Layout, plan: Plan) -> ResidentStore:
    layers, regions = [], layer_regions(layout)
    for index in range(layout.num_layers):
        layers.append(bound_layer(tensors, layout, index, plan, regions))
        trim_heap()
    device = torch.device(plan.device)
    return ResidentStore(tensors.table(), tensors.shared(), layers, device, keeps_table=plan.keeps_table)


def streamed_store(tensors: ModelTensors, layout: Layout, plan: Plan) -> StreamedStore:
    """Nothing but small vectors stays loaded: each pass takes its layers from the file one by one."""
    regions = layer_regions(layout)

    def make_layer(index: int) -> LayerWeights:
        trim_heap()
        return bound_layer(tensors, layout, index, plan, regions)

    return StreamedStore(
        tensors.table(),
        tensors.shared(),
        make_layer,
        tensors.mapped,
        layout.num_layers,
        torch.device(plan.device),
        keeps_table=plan.keeps_table,
    )


def layer_regions(layout: Layout) -> Mapping[str, Region]:
    """Where one layer's matrices are unpacked, for formats that do so; nothing is allocated yet."""
    return {part.name: Region() for part in layout.matrices}


def bound_layer(
    tensors: ModelTensors, layout: Layout, index: int, plan: Plan, regions: Mapping[str, Region]
) -> LayerWeights:
    matrices = {part.name: bound_matrix(tensors, index, part, plan, regions[part.name]) for part in layout.matrices}
    return LayerWeights(matrices, tensors.vectors(index))


def bound_matrix(tensors: ModelTensors, index: int, part: MatrixPart, plan: Plan, region: Region) -> Linear:
    linear = plan.format.linear(tensors.packed(index, part), tensors.bias(index, part), part.shape, region)
    return RotatedLinear(linear) if rotates_inputs(plan.format, part) else linear
