"""Which tensors a model is made of, and how they are joined into matrices.

One declaration for each family serves four readers: the loader (what to read and concatenate), the check for missing
and left-over tensors, the planner (bytes), and synthetic checkpoints (names and shapes).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Literal

from farthing.core.deferred import dataclass
from farthing.quant.format import CoarseFormat, MatrixShape, WeightFormat

Shape = tuple[int, ...]


@dataclass(frozen=True)
class MatrixPart:
    """A matrix product of a layer; several stored matrices (q, k, v) are stacked along their outputs.

    Attributes:
        sources: stems relative to the layer: `stem + ".weight"` [out, in] and, with `bias`, `stem + ".bias"` [out].
        gain: the norm vector whose output the matrix reads, when all that read it say so: it can be folded into the
            matrix.
        residual: whether the matrix reads the residual stream (through RMSNorm with `gain`) or its output is added to
            it, in a model whose stream can be rotated; None where neither is so.
        input_group: the number of inputs that share a scale where rows are quantised
            (`farthing.quant.format.MatrixShape`).
        rotates_inputs: whether a format that quantises rotates the matrix's inputs when they come
            (`farthing.quant.rotation`), for families whose norms make outliers that no gain can absorb.
        is_sensitive: whether a coarse format leaves the matrix to its finer format.
    """

    name: str
    sources: tuple[str, ...]
    out_features: tuple[int, ...]
    in_features: int
    bias: bool = False
    gain: str | None = None
    residual: Literal["reads", "writes"] | None = None
    input_group: int | None = None
    rotates_inputs: bool = False
    is_sensitive: bool = False

    @property
    def shape(self) -> MatrixShape:
        """The shape of the stacked matrix."""
        return MatrixShape(sum(self.out_features), self.in_features, self.input_group)

    def stored_in(self, form: WeightFormat) -> WeightFormat:
        """The matrix's own format in a model of format `form`."""
        return form.finer if self.is_sensitive and isinstance(form, CoarseFormat) else form

    def num_bytes(self, form: WeightFormat) -> int:
        """The bytes of the matrix in a model of format `form`."""
        return self.stored_in(form).num_bytes(self.shape.out_features, self.in_features)

    def tensors(self, prefix: str) -> Iterator[tuple[str, Shape]]:
        for stem, width in zip(self.sources, self.out_features, strict=True):
            yield f"{prefix}{stem}.weight", (width, self.in_features)
            if self.bias:
                yield f"{prefix}{stem}.bias", (width,)


@dataclass(frozen=True)
class VectorPart:
    """A small tensor: norm gains and biases, position tables.

    Attributes:
        offset: what is added to the stored numbers; Gemma stores gains without their 1.
        layers: the layers that have it, of a layer's vectors; None for all.
    """

    name: str
    source: str
    shape: Shape
    offset: float = 0.0
    layers: range | None = None

    def is_in(self, layer: int) -> bool:
        return self.layers is None or layer in self.layers

    def tensors(self, prefix: str) -> Iterator[tuple[str, Shape]]:
        yield f"{prefix}{self.source}", self.shape


@dataclass(frozen=True)
class RowsPart:
    """Some rows of a stored matrix of `shape`, the only ones that are read of it; small, and used as they are."""

    name: str
    source: str
    rows: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True)
class Fused:
    """A matrix that some checkpoints store in place of several, whose rows lie one after the other.

    Attributes:
        stem: what the fused matrix, and its bias, is called where a layer's tensors are.
        parts: the stems of the matrices that it holds, in order, as the layout calls them.
    """

    stem: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class ValueHeads:
    """The heads of `width` in attention's values, which can be rotated head by head.

    They are the rows of the tensor `source`, and the columns of the part `reader`, which reads attention's result.
    """

    source: str
    reader: str
    width: int


@dataclass(frozen=True)
class Layout:
    """All tensors of a model.

    Attributes:
        table: the token embeddings [vocab, hidden]; only gathered from, never multiplied, so never converted.
        layer_prefix: what the names of a layer's tensors begin with, with a `{layer}` field.
        optional: tensors that may be in the checkpoint but have no part in the vectors (exact names or prefixes ending
            in a dot).
        wrappers: prefixes that saving a larger model puts before every name.
        values: attention's value heads, where the family's attention allows them to be rotated.
        twins: other names that the table may have where the checkpoint ties it to its output matrix.
        renamed: parts of names, between dots, as other versions of the model's code wrote them and as they are here;
            each is looked for once, in order.
        fused: matrices that other versions of the model's code stored as one.
        rows: the rows that a head reads of the token embeddings or of a language model's output matrix.
    """

    table: VectorPart
    shared: tuple[VectorPart, ...]
    matrices: tuple[MatrixPart, ...]
    vectors: tuple[VectorPart, ...]
    layer_prefix: str
    num_layers: int
    wrappers: tuple[str, ...]
    optional: tuple[str, ...] = ()
    values: ValueHeads | None = None
    rows: RowsPart | None = None
    twins: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    fused: tuple[Fused, ...] = ()

    @property
    def can_rotate(self) -> bool:
        """Whether the residual stream can be rotated, and its readers and writers with it."""
        return any(part.residual for part in self.matrices)

    def finer_parts(self, form: WeightFormat) -> tuple[str, ...]:
        """The names of the matrices that a model of format `form` holds in a finer format."""
        return tuple(part.name for part in self.matrices if part.stored_in(form) is not form)

    def with_sensitive(self, names: Collection[str]) -> Layout:
        """The same layout, in which the named matrices are sensitive and no others."""
        return replace(self, matrices=tuple(replace(part, is_sensitive=part.name in names) for part in self.matrices))

    def vectors_of(self, layer: int) -> tuple[VectorPart, ...]:
        return tuple(vector for vector in self.vectors if vector.is_in(layer))

    def prefix(self, layer: int) -> str:
        return self.layer_prefix.format(layer=layer)

    def tensors(self) -> Iterator[tuple[str, Shape]]:
        """The name and shape of every tensor that must be there, in the order of computation."""
        yield from self.table.tensors("")
        for layer in range(self.num_layers):
            for vector in self.vectors_of(layer):
                yield from vector.tensors(self.prefix(layer))
            for matrix in self.matrices:
                yield from matrix.tensors(self.prefix(layer))
        for vector in self.shared:
            yield from vector.tensors("")
        if self.rows is not None:
            yield self.rows.source, self.rows.shape

    def is_optional(self, name: str) -> bool:
        return any(name == entry or (entry.endswith(".") and name.startswith(entry)) for entry in self.optional)
