"""A model that torch computes: its layers on cards or, to compare with, on the CPU, and a batch's way through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from farthing.core.arrays import Array
from farthing.engine.cards.host_store import HostStore, pinned
from farthing.engine.computing import OnLayer
from farthing.engine.describe import ModelDescription
from farthing.engine.memory import trim_heap
from farthing.engine.plan.plan import Plan
from farthing.engine.weights.convert import rotates_inputs
from farthing.engine.weights.store import ResidentStore, StreamedStore, WeightStore
from farthing.engine.weights.tensors import ModelTensors
from farthing.models.batch.packed import PackedBatch
from farthing.models.forward.pooling import pooled_rows
from farthing.models.layout import MatrixPart
from farthing.models.token_table import TokenTable
from farthing.models.torch_pass.attention import attend_runs, attend_varlen
from farthing.models.torch_pass.run import TorchPass
from farthing.models.torch_pass.start import Compute, LayerWeights, PassStart, TorchBatch
from farthing.quant.gpu.linear import Linear, TensorRegion
from farthing.quant.gpu.linears import card_linear
from farthing.quant.gpu.rotation import RotatedLinear
from farthing.quant.gpu.tensors import as_tensor

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The messages of torch's allocator for the host, in a RuntimeError (c10/core/impl/alloc_cpu.cpp).
HOST_ALLOCATOR = ("can't allocate memory", "not enough memory")
BIAS = "bias"  # the bias's name beside those that a format's `pack` gives


class TorchModel:
    """A `farthing.engine.computing.Computing` on the devices of its plan."""

    def __init__(self, description: ModelDescription, tensors: ModelTensors, on_layer: OnLayer) -> None:
        plan = description.plan
        self._description, self._tensors = description, tensors
        self._device = device_of(plan.device)
        shares = plan.shares(description.spec.num_layers)
        self._shares = [(device_of(name), indices) for name, indices in shares]  # the layers on each device
        self.shared: Mapping[str, Array] = tensors.shared()
        self._on_device = {name: torch.from_numpy(vector).to(self._device) for name, vector in self.shared.items()}
        self._set_table()
        self._store = self._make_store(on_layer)
        self._compute = Compute(
            dtype=DTYPES[plan.dtype],
            residual_dtype=DTYPES[plan.residual_dtype],
            chunk_tokens=plan.chunk_tokens,
            attend=attend_varlen if plan.flash_attention else attend_runs,
            rotation=description.rotation,
        )
        self._exact = replace(self._compute, dtype=torch.float32, residual_dtype=torch.float32, attend=attend_runs)

    @property
    def is_exact(self) -> bool:
        return self._compute.dtype is torch.float32

    @torch.inference_mode()
    def rouse(self) -> None:
        """Nothing sleeps."""

    def rows(self, batch: PackedBatch, *, exactly: bool = False) -> Array:
        description = self._description
        last = description.spec.num_layers - 1
        keep = pooled_rows(description.embedding.pooling, batch)
        compute = self._exact if exactly else self._compute
        try:
            start = PassStart(
                description.spec, self._gather, TorchBatch.on(batch, self._device), self._on_device, compute
            )
            forward = TorchPass(start)
            layers = self._store.layers()
            for device, indices in self._shares:
                forward.move_to(device)
                for index in indices:
                    # The layer gets no name here: one that is not resident must be freed before the next one comes.
                    forward.layer(next(layers), keep if index == last else None)
            forward.move_to(self._device)
            return forward.finish(means=keep is None and batch.token_rows is None)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            failure = MemoryError(str(error))
        raise failure  # not from `error`, whose traceback would keep the batch's tensors alive

    def _set_table(self) -> None:
        plan, table = self._description.plan, self._tensors.table()
        on_card = plan.on_card and plan.keeps_table and isinstance(table, np.ndarray)
        self._card_table = as_tensor(table).to(self._device) if on_card else None  # type: ignore[arg-type]
        # Where a card's memory is short, the host's is not.
        self._table = TokenTable(table, keeps_pages=plan.keeps_table or plan.on_card)

    def _gather(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings [tokens, hidden] of token ids [tokens] (int64, on the host), on the device."""
        if self._card_table is not None:
            return self._card_table.index_select(0, ids.to(self._device))
        return as_tensor(self._table.rows(ids.numpy())).to(self._device)

    def _make_store(self, on_layer: OnLayer) -> WeightStore[LayerWeights]:
        layout, plan = self._description.layout, self._description.plan
        if plan.residency == "disk":
            regions = self._regions()
            return StreamedStore(lambda index: self._streamed(index, regions), self._tensors.mapped, layout.num_layers)
        if plan.residency == "host":
            return self._host_store(on_layer)
        layers: list[LayerWeights] = []
        for device, indices in self._shares:
            regions = self._regions()
            for index in indices:
                layers.append(self._layer(index, regions, device))
                trim_heap()
                on_layer(len(layers), layout.num_layers)
        return ResidentStore(layers)

    def _host_store(self, on_layer: OnLayer) -> HostStore:
        """A store of layers in pinned host memory, in their format."""
        layout, regions, layers = self._description.layout, self._regions(), []
        for index in range(layout.num_layers):
            found = {part.name: self._matrix_tensors(index, part) for part in layout.matrices}
            found["vectors"] = as_tensors(self._tensors.vectors(index))
            layers.append({(group, name): pinned(held) for group, some in found.items() for name, held in some.items()})
            trim_heap()
            on_layer(index + 1, layout.num_layers)

        def bound(found: Mapping[tuple[str, str], torch.Tensor]) -> LayerWeights:
            def held(group: str) -> dict[str, torch.Tensor]:
                return {name: tensor for (of, name), tensor in found.items() if of == group}

            matrices = {
                part.name: bound_matrix(held(part.name), part, self._description.plan, regions[part.name])
                for part in layout.matrices
            }
            return LayerWeights(matrices, held("vectors"))

        return HostStore(layers, bound, self._device)

    def _streamed(self, index: int, regions: Mapping[str, TensorRegion]) -> LayerWeights:
        trim_heap()
        return self._layer(index, regions, self._device)

    def _layer(self, index: int, regions: Mapping[str, TensorRegion], device: torch.device) -> LayerWeights:
        """The weights of a layer on a device, made one matrix after the other: no more than one is there twice."""
        plan = self._description.plan
        matrices = {
            part.name: bound_matrix(moved(self._matrix_tensors(index, part), device), part, plan, regions[part.name])
            for part in self._description.layout.matrices
        }
        return LayerWeights(matrices, moved(as_tensors(self._tensors.vectors(index)), device))

    def _regions(self) -> Mapping[str, TensorRegion]:
        """The regions into which formats unpack one layer's matrices, where they do so; nothing is allocated yet."""
        return {part.name: TensorRegion() for part in self._description.layout.matrices}

    def _matrix_tensors(self, index: int, part: MatrixPart) -> dict[str, torch.Tensor]:
        """The tensors that a matrix is stored in, and its bias, on the host."""
        bias = self._tensors.bias(index, part)
        held = as_tensors(self._tensors.packed(index, part))
        return held if bias is None else {**held, BIAS: torch.from_numpy(bias).to(DTYPES[self._description.plan.dtype])}


def release_cached() -> None:
    """Give back the memory that torch keeps for later on cards."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def device_of(name: str) -> torch.device:
    return torch.device("cpu" if name == "torch-cpu" else name)


def as_tensors(arrays: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    return {name: as_tensor(array) for name, array in arrays.items()}


def moved(tensors: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def bound_matrix(found: Mapping[str, torch.Tensor], part: MatrixPart, plan: Plan, region: TensorRegion) -> Linear:
    packed = {name: tensor for name, tensor in found.items() if name != BIAS}
    linear = card_linear(part.stored_in(plan.format).name, packed, found.get(BIAS), part.shape, region)
    return RotatedLinear(linear) if rotates_inputs(plan.format, part) else linear


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in HOST_ALLOCATOR)
