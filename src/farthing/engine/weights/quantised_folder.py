"""A folder of quantised weights: which tensors are in it, and how they are read.

The packed matrices are used where the file is mapped, without a copy; the page cache holds them once for all processes.
In: a description with a manifest. Out: its tensors, as `farthing.engine.weights.convert` would make them anew.
`farthing.engine.weights.write_folder` writes such folders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from farthing.checkpoint.manifest import remedy
from farthing.checkpoint.reader import Checkpoint
from farthing.core.arrays import ALIGNMENT, NAMES, Array, aligned_empty
from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError
from farthing.engine.describe import ModelDescription
from farthing.engine.weights.convert import gathered
from farthing.engine.weights.tensor_names import STORED_DTYPES, some
from farthing.engine.weights.tensors import ModelTensors
from farthing.models.layout import Layout, MatrixPart, RowsPart
from farthing.quant.format import WeightFormat

UINT8, FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the folder; `take` gets it out of a model's tensors."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    take: Callable[[ModelTensors], Array]


class PreparedTensors:
    """`ModelTensors` of a folder of quantised weights.

    Raises:
        CheckpointError: on construction, when tensors are missing, or of another shape or type.
    """

    def __init__(self, description: ModelDescription) -> None:
        assert description.manifest is not None and isinstance(description.checkpoint, Checkpoint)
        self._checkpoint, self._layout = description.checkpoint, description.layout
        found = {name: (info.shape, info.dtype) for name, info in self._checkpoint.tensors.items()}
        wanted = {
            stored.name: (stored.shape, NAMES[stored.dtype])
            for stored in stored_tensors(description.layout, description.plan.format)
        }
        table = description.layout.table
        wanted[table.source] = (table.shape, found.get(table.source, ((), ""))[1])
        wrong = [name for name, facts in wanted.items() if found.get(name) != facts]
        wrong += [name for name in found if name not in wanted]
        if wrong or wanted[table.source][1] not in STORED_DTYPES:
            source = description.manifest.source
            raise CheckpointError(
                f"{self._checkpoint.path} is damaged: {some(wrong or [table.source])} not as "
                f"{description.plan.format.name} stores it. {remedy(source)}"
            )
        self._mapped = self._checkpoint.map(name for name in wanted if name != table.source)

    def table(self) -> Array:
        return self._checkpoint.read(self._layout.table.source)

    def shared(self) -> dict[str, Array]:
        shared = {part.name: self._copy(part.source) for part in self._layout.shared}
        part = self._layout.rows
        if part is None:
            return shared
        if part.source == self._layout.table.source:
            return {**shared, part.name: gathered(self.table(), part)}
        return {**shared, part.name: self._copy(rows_name(part))}

    def vectors(self, layer: int) -> dict[str, Array]:
        prefix = self._layout.prefix(layer)
        return {part.name: self._copy(prefix + part.source) for part in self._layout.vectors_of(layer)}

    def packed(self, layer: int, part: MatrixPart) -> Mapping[str, Array]:
        return {"packed": aligned(self._mapped[block_name(self._layout, layer, part)])}

    def bias(self, layer: int, part: MatrixPart) -> Array | None:
        return self._copy(bias_name(self._layout, layer, part)) if part.bias else None

    def _copy(self, name: str) -> Array:
        return self._mapped[name].copy()

    def mapped(self, layer: int) -> Iterator[Array]:
        for part in self._layout.matrices:
            yield self._mapped[block_name(self._layout, layer, part)]


def aligned(block: Array) -> Array:
    """The block itself where it is aligned, as in folders that Farthing wrote; else a copy that is."""
    if block.ctypes.data % ALIGNMENT == 0:
        return block
    copy = aligned_empty(block.nbytes)
    copy[:] = block
    return copy


def stored_tensors(layout: Layout, form: WeightFormat) -> Iterator[StoredTensor]:
    """All tensors but the token embeddings, in the file's order: first packed blocks, whose lengths align them."""
    layers = range(layout.num_layers)
    for layer in layers:
        for part in layout.matrices:
            take = partial(take_block, layer=layer, part=part)
            yield StoredTensor(block_name(layout, layer, part), (part.num_bytes(form),), UINT8, take)
    for layer in layers:
        for part in layout.matrices:
            if part.bias:
                name, shape = bias_name(layout, layer, part), (part.shape.out_features,)
                yield StoredTensor(name, shape, FLOAT32, partial(take_bias, layer=layer, part=part))
        for vector in layout.vectors_of(layer):
            name = layout.prefix(layer) + vector.source
            take = partial(take_vector, layer=layer, name=vector.name)
            yield StoredTensor(name, vector.shape, FLOAT32, take)
    for vector in layout.shared:
        yield StoredTensor(vector.source, vector.shape, FLOAT32, partial(take_shared, name=vector.name))
    rows = layout.rows
    if rows is not None and rows.source != layout.table.source:
        used = (len(rows.rows), *rows.shape[1:])
        yield StoredTensor(rows_name(rows), used, FLOAT32, partial(take_shared, name=rows.name))


def take_block(tensors: ModelTensors, layer: int, part: MatrixPart) -> Array:
    return tensors.packed(layer, part)["packed"]


def take_bias(tensors: ModelTensors, layer: int, part: MatrixPart) -> Array:
    bias = tensors.bias(layer, part)
    assert bias is not None
    return bias


def take_vector(tensors: ModelTensors, layer: int, name: str) -> Array:
    return tensors.vectors(layer)[name]


def take_shared(tensors: ModelTensors, name: str) -> Array:
    return tensors.shared()[name]


def block_name(layout: Layout, layer: int, part: MatrixPart) -> str:
    return f"{layout.prefix(layer)}{part.name}.packed"


def rows_name(part: RowsPart) -> str:
    return f"{part.source}.{part.name}"


def bias_name(layout: Layout, layer: int, part: MatrixPart) -> str:
    return f"{layout.prefix(layer)}{part.name}.bias"
