"""From a checkpoint folder to a model on the device.

Weights are read through the page cache and converted one matrix at a time, so the peak while loading is the model plus
its largest matrix. Before anything is read, the tensors' names, shapes and types are checked against the model's
layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from farthing.checkpoint.reader import Checkpoint
from farthing.core.errors import CheckpointError
from farthing.core.settings import EngineSettings
from farthing.engine.device import device_facts
from farthing.engine.memory import trim_heap
from farthing.engine.plan import Plan, make_plan
from farthing.engine.store import ResidentStore, WeightStore
from farthing.models.embedding_config import embedding_spec
from farthing.models.families import family_of
from farthing.models.family import Family, LayerWeights
from farthing.models.layout import Layout, MatrixPart
from farthing.models.spec import EmbeddingSpec, ModelSpec
from farthing.quant.rotation import RotatedLinear, can_rotate, rotate

STORED_DTYPES = ("F32", "BF16", "F16")  # safetensors' names of what a weight may be stored as


@dataclass(frozen=True)
class ModelDescription:
    """What is known of a model before its weights are read."""

    checkpoint: Checkpoint
    family: Family
    spec: ModelSpec
    embedding: EmbeddingSpec
    layout: Layout
    plan: Plan

    @property
    def path(self) -> Path:
        return self.checkpoint.path


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


def describe_model(path: Path, settings: EngineSettings) -> ModelDescription:
    """
    Raises:
        CheckpointError: files are missing or broken, or ask for what is not built.
        UnknownArchitectureError: no family computes this model.
        SettingsError: the settings ask for what the model or device cannot do.
    """
    checkpoint = Checkpoint(path)
    family = family_of(checkpoint.config)
    spec = family.spec(checkpoint.config)
    embedding = embedding_spec(checkpoint, spec, family.fallback)
    layout = family.layout(spec)
    facts = device_facts(settings.device)
    # Before anything asks for the native kernels, whose team of threads is as large as torch's at that moment.
    torch.set_num_threads(settings.num_threads or facts.num_threads)
    plan = make_plan(settings, facts, spec, layout, embedding.max_tokens)
    return ModelDescription(checkpoint, family, spec, embedding, layout, plan)


def load_weights(description: ModelDescription) -> LoadedModel:
    """Raises `CheckpointError` when the tensors do not fit the description."""
    weights = NamedWeights(description.checkpoint, description.layout)
    store = resident_store(weights, description.layout, description.plan)
    return LoadedModel(description, description.checkpoint.fingerprint, store)


def load_model(path: Path, settings: EngineSettings) -> LoadedModel:
    """Both steps; raises what they raise."""
    return load_weights(describe_model(path, settings))


class NamedWeights:
    """A checkpoint's tensors under the layout's names, whole and nothing left over.

    Raises:
        CheckpointError: on construction, naming tensors that are missing, left over, of another shape or no floats.
    """

    def __init__(self, checkpoint: Checkpoint, layout: Layout) -> None:
        self._checkpoint = checkpoint
        self._stored_name = {unwrap(name, layout.wrappers): name for name in checkpoint.tensors}
        wanted = dict(layout.tensors())
        missing = [name for name in wanted if name not in self._stored_name]
        left_over = [name for name in self._stored_name if name not in wanted and not layout.is_optional(name)]
        if missing or left_over:
            raise CheckpointError(
                f"{checkpoint.path} does not fit its config.json: missing {some(missing)}; left over "
                f"{some(left_over)}. The file is of another model, or incomplete."
            )
        for name, shape in wanted.items():
            stored = checkpoint.tensors[self._stored_name[name]]
            if stored.shape != shape:
                raise CheckpointError(f"{name} has shape {list(stored.shape)}; config.json makes it {list(shape)}.")
            if stored.dtype not in STORED_DTYPES:
                raise CheckpointError(
                    f"{name} is stored as {stored.dtype}; checkpoints in {', '.join(STORED_DTYPES)} can be read."
                )

    def read(self, name: str) -> torch.Tensor:
        return self._checkpoint.read(self._stored_name[name])

    def stack(self, part: MatrixPart, prefix: str, ending: str) -> torch.Tensor:
        """The part's tensors stacked along their outputs, in the stored dtype."""
        tensors = [self.read(f"{prefix}{stem}{ending}") for stem in part.sources]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def unwrap(name: str, wrappers: tuple[str, ...]) -> str:
    """The name without the prefix that saving it as part of a larger model put before it."""
    return next((name.removeprefix(wrapper) for wrapper in wrappers if name.startswith(wrapper)), name)


def some(names: list[str]) -> str:
    shown = ", ".join(names[:8]) or "nothing"
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def resident_store(weights: NamedWeights, layout: Layout, plan: Plan) -> ResidentStore:
    device = torch.device(plan.device)
    layers = []
    for index in range(layout.num_layers):
        layers.append(resident_layer(weights, layout, layout.prefix(index), plan, device))
        trim_heap()
    shared = {part.name: weights.read(part.source).to(device, torch.float32, copy=True) for part in layout.shared}
    return ResidentStore(weights.read(layout.table.source), shared, layers, device)


def resident_layer(
    weights: NamedWeights, layout: Layout, prefix: str, plan: Plan, device: torch.device
) -> LayerWeights:
    # Small tensors are copied, so that they do not each keep a mapping of the file. Matrices that are computed as they
    # are stored stay mapped: the page cache holds them, once for all processes.
    vectors = {
        part.name: weights.read(f"{prefix}{part.source}").to(device, torch.float32, copy=True)
        for part in layout.vectors
    }
    matrices = {}
    for part in layout.matrices:
        weight = weights.stack(part, prefix, ".weight").to(device)
        if plan.format.folds_gains and part.gain:
            weight = weight * vectors[part.gain]
            vectors[part.gain] = torch.ones_like(vectors[part.gain])
        rotates = plan.format.rotates_inputs and part.rotates and can_rotate(part.in_features)
        packed = plan.format.pack(rotate(weight) if rotates else weight)
        bias = weights.stack(part, prefix, ".bias").to(device, plan.dtype, copy=True) if part.bias else None
        linear = plan.format.linear(packed, bias)
        matrices[part.name] = RotatedLinear(linear) if rotates else linear
    return LayerWeights(matrices, vectors)
