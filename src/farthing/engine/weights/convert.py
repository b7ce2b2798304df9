"""A checkpoint's tensors brought into a weight format, one matrix at a time.

For formats that quantise, whatever would coarsen their steps is treated first, without changing what the model
computes. Norm gains are multiplied into the matrices that read the normed rows, and, where the family says that they
can be, the residual stream and attention's values are rotated (QuaRot, https://arxiv.org/abs/2404.00456). Nothing is
kept in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from farthing.checkpoint.table import Table
from farthing.core.arrays import Array, to_float32
from farthing.engine.describe import ModelDescription
from farthing.engine.weights.pages import let_go
from farthing.engine.weights.tensor_names import NamedWeights
from farthing.models.forward.rotation import Rotation
from farthing.models.layout import MatrixPart, RowsPart, VectorPart
from farthing.quant.format import WeightFormat
from farthing.quant.native.team import native_kernels
from farthing.quant.rotation import can_rotate, rotate


class ConvertedTensors:
    """`ModelTensors` of a checkpoint in the plan's format.

    Raises:
        CheckpointError: on construction, when the tensors do not fit the description.
    """

    def __init__(self, description: ModelDescription) -> None:
        self._layout, self._plan = description.layout, description.plan
        self._rotation, values = description.rotation, description.layout.values
        self._value_rotation = Rotation(values.width) if values else None
        # Layers that are read again for every pass are mapped once; otherwise each tensor's mapping goes with it.
        streams = description.plan.residency == "disk"
        self._weights = NamedWeights(description.checkpoint, description.layout, keeps_mapping=streams)
        self._kernels = native_kernels(description.plan.num_threads)

    def table(self) -> Table:
        return self._weights.rows(self._layout.table.source)

    def shared(self) -> dict[str, Array]:
        shared = {part.name: self._vector("", part) for part in self._layout.shared}
        part = self._layout.rows
        return shared if part is None else {**shared, part.name: self._rows(part)}

    def vectors(self, layer: int) -> dict[str, Array]:
        prefix = self._layout.prefix(layer)
        vectors = {part.name: self._vector(prefix, part) for part in self._layout.vectors_of(layer)}
        for part in self._layout.matrices:
            if part.gain and self._plan.format.quantises:
                vectors[part.gain] = np.ones_like(vectors[part.gain])
        return vectors

    def packed(self, layer: int, part: MatrixPart) -> Mapping[str, Array]:
        form = part.stored_in(self._plan.format)
        return self.packed_by(lambda weight: form.pack(weight, self._kernels), layer, part)

    def packed_by(
        self, pack: Callable[[Array], Mapping[str, Array]], layer: int, part: MatrixPart
    ) -> Mapping[str, Array]:
        """The tensors that `pack` makes of a layer's matrix [out_features, in_features], treated for the format."""
        form, prefix = self._plan.format, self._layout.prefix(layer)
        stored = [self._weights.read(f"{prefix}{stem}.weight") for stem in part.sources]
        weights = stored
        if form.quantises:
            gain = self._gain(prefix, part)
            weights = [
                self._treated(weight, gain, stem, part) for weight, stem in zip(stored, part.sources, strict=True)
            ]
        packed = pack(weights[0] if len(weights) == 1 else np.concatenate(weights))
        used_as_it_lies = {array.ctypes.data for array in packed.values()}
        for weight in stored:
            if self._weights.mapped and weight.ctypes.data not in used_as_it_lies:
                let_go(weight)
        return packed

    def bias(self, layer: int, part: MatrixPart) -> Array | None:
        if not part.bias:
            return None
        prefix = self._layout.prefix(layer)
        biases = [self._weights.read(f"{prefix}{stem}.bias") for stem in part.sources]
        return np.concatenate([to_float32(bias) for bias in biases])

    def mapped(self, layer: int) -> Iterator[Array]:
        prefix = self._layout.prefix(layer)
        for part in self._layout.matrices if self._weights.mapped else ():
            for name, _ in part.tensors(prefix):
                yield self._weights.read(name)

    def _treated(self, weight: Array, gain: Array | None, stem: str, part: MatrixPart) -> Array:
        """weight [out, in] with its gain folded in, and rotated to match the rows that it reads and writes."""
        weight = to_float32(weight)
        if gain is not None:
            weight = weight * gain
        if self._rotation is not None and part.residual == "reads":
            weight = self._rotated_inputs(weight, self._rotation)
        if self._rotation is not None and part.residual == "writes":
            weight = self._rotated_outputs(weight, self._rotation)
        if self._value_rotation is not None and self._layout.values is not None:
            if stem == self._layout.values.source:
                weight = self._rotated_outputs(weight, self._value_rotation)
            if part.name == self._layout.values.reader:
                weight = self._rotated_inputs(weight, self._value_rotation)
        return rotate(weight) if rotates_inputs(self._plan.format, part) else weight

    def _rotated_inputs(self, weight: Array, rotation: Rotation) -> Array:
        """The weight [out, n * width] for inputs whose n pieces are rotated: W R^T."""
        return rotation.apply(weight.reshape(-1, rotation.width), self._kernels).reshape(weight.shape)

    def _rotated_outputs(self, weight: Array, rotation: Rotation) -> Array:
        """The weight [n * width, in] that makes the n pieces of its outputs come out rotated: R W."""
        return self._rotated_inputs(np.ascontiguousarray(weight.T), rotation).T

    def _gain(self, prefix: str, part: MatrixPart) -> Array | None:
        vectors = {vector.name: vector for vector in self._layout.vectors}
        return None if part.gain is None else self._vector(prefix, vectors[part.gain])

    def _rows(self, part: RowsPart) -> Array:
        return gathered(self._weights.rows(part.source), part)

    def _vector(self, prefix: str, part: VectorPart) -> Array:
        """The part's numbers, copied, so that small arrays do not each keep a mapping of the file."""
        found: Array = np.array(to_float32(self._weights.read(prefix + part.source)))
        return found + np.float32(part.offset) if part.offset else found


def gathered(table: Table, part: RowsPart) -> Array:
    """The part's rows of its matrix, [rows, width] fp32 on the host."""
    return to_float32(table.take(np.array(part.rows), axis=0))


def rotates_inputs(form: WeightFormat, part: MatrixPart) -> bool:
    """Whether the part's input rows are rotated when they come, so that its weight must be rotated too."""
    return form.quantises and part.rotates_inputs and can_rotate(part.in_features)
