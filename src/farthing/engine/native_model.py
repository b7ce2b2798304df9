"""A model on the native kernels: its layers as the kernels take them, and a batch's way through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from farthing.core.arrays import Array
from farthing.engine.computing import OnLayer
from farthing.engine.describe import ModelDescription
from farthing.engine.memory import trim_heap
from farthing.engine.weights.convert import rotates_inputs
from farthing.engine.weights.store import ResidentStore, StreamedStore, WeightStore
from farthing.engine.weights.tensors import ModelTensors
from farthing.models.batch.packed import PackedBatch
from farthing.models.forward.native_pass import LayerBlocks, NativeForward
from farthing.models.forward.pooling import pooled_rows
from farthing.models.layout import MatrixPart
from farthing.models.token_table import TokenTable
from farthing.quant.format import Region
from farthing.quant.native.arguments import NativeWeights
from farthing.quant.native.team import native_kernels
from farthing.quant.native_matrix import NativeMatrix, UnrotatedMatrix


class NativeModel:
    """A `farthing.engine.computing.Computing` on the CPU."""

    is_exact = True

    def __init__(self, description: ModelDescription, tensors: ModelTensors, on_layer: OnLayer) -> None:
        self._description, self._tensors = description, tensors
        self._kernels = native_kernels(description.plan.num_threads)
        self._regions = {part.name: Region() for part in description.layout.matrices}
        self.shared: Mapping[str, Array] = tensors.shared()
        self.table = TokenTable(tensors.table(), keeps_pages=description.plan.keeps_table)
        self._weights: list[NativeWeights] = []  # of the layers that stay in memory as the kernels take them
        self._store = self._make_store(on_layer)
        self._forward = NativeForward(
            description.spec,
            description.layout,
            description.plan.format,
            self._kernels,
            self.shared,
            description.rotation,
        )

    def rouse(self) -> None:
        self._kernels.rouse()

    def rows(self, batch: PackedBatch, *, exactly: bool = False) -> Array:  # noqa: ARG002
        description = self._description
        keep = pooled_rows(description.embedding.pooling, batch)
        means = keep is None and batch.token_rows is None
        if len(self._weights) == description.spec.num_layers and self._forward.takes_one_call(batch, self.table):
            return self._forward.run(batch, self.table, self._weights, keep, means=means)
        run = self._forward.begin(batch, self.table)
        last = description.spec.num_layers - 1
        layers = self.layers()
        for index in range(description.spec.num_layers):
            # The layer gets no name here: one that is not resident must be freed before the next one comes.
            run.layer(next(layers), keep if index == last else None)
        return run.finish(means=means)

    def layers(self) -> Iterator[LayerBlocks]:
        """The layers, first to last, as a pass gets them."""
        return self._store.layers()

    def _make_store(self, on_layer: OnLayer) -> WeightStore[LayerBlocks]:
        num_layers = self._description.layout.num_layers
        if self._description.plan.residency == "disk":
            return StreamedStore(self._make_streamed, self._tensors.mapped, num_layers)
        layers = []
        for index in range(num_layers):
            layers.append(self._make_layer(index, stays=True))
            trim_heap()
            on_layer(index + 1, num_layers)
        self._weights = [layer.native for layer in layers if layer.native is not None]
        return ResidentStore(layers)

    def _make_streamed(self, index: int) -> LayerBlocks:
        trim_heap()
        return self._make_layer(index, stays=False)

    def _make_layer(self, index: int, *, stays: bool) -> LayerBlocks:
        """The weights of a layer, made one matrix after the other, so that no more than one is there twice."""
        layout = self._description.layout
        matrices = {part.name: self._matrix(index, part, stays=stays) for part in layout.matrices}
        return LayerBlocks(matrices, self._tensors.vectors(index))

    def _matrix(self, index: int, part: MatrixPart, *, stays: bool) -> NativeMatrix:
        packed, bias = self._tensors.packed(index, part), self._tensors.bias(index, part)
        form = part.stored_in(self._description.plan.format)
        matrix = form.bind(packed, bias, part.shape, self._regions[part.name], self._kernels, stays=stays)
        if form.form != "int8" and rotates_inputs(self._description.plan.format, part):
            return UnrotatedMatrix(matrix)
        return matrix
