"""Which tensors a model is made of, and how they are joined into matrices.

One declaration a family serves four readers: the loader (what to read and concatenate), the check for missing and
left-over tensors, the planner (bytes), and synthetic checkpoints (names and shapes).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from farthing.quant.format import CoarseFormat, MatrixShape, WeightFormat

Shape = tuple[int, ...]


@dataclass(frozen=True)
class MatrixPart:
    """A matrix product of a layer; several stored matrices (q, k, v) are stacked along their outputs.

    Attributes:
        sources: stems relative to the layer: `stem + ".weight"` [out, in] and, with `bias`, `stem + ".bias"` [out].
        gain: the norm vector whose output it reads, when all that read it say so: it can be folded into the matrix.
        residual: whether it reads the residual stream (through RMSNorm with `gain`) or is added to it, in a model
            whose stream can be rotated; None where it does neither.
        input_group: inputs that share a scale where rows are quantised (`farthing.quant.format.MatrixShape`).
        rotates_inputs: whether a format that quantises rotates its inputs as they come (`farthing.quant.rotation`), for
            families whose norms make outliers that no gain can take along.
        is_sensitive: whether a coarse format leaves it to its finer one.
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
        """Of the stacked matrix."""
        return MatrixShape(sum(self.out_features), self.in_features, self.input_group)

    def stored_in(self, form: WeightFormat) -> WeightFormat:
        """The matrix's own format in a model of that one."""
        return form.finer if self.is_sensitive and isinstance(form, CoarseFormat) else form

    def num_bytes(self, form: WeightFormat) -> int:
        """Of the matrix in a model of that format."""
        return self.stored_in(form).num_bytes(self.shape.out_features, self.in_features)

    def tensors(self, prefix: str) -> Iterator[tuple[str, Shape]]:
        for stem, width in zip(self.sources, self.out_features, strict=True):
            yield f"{prefix}{stem}.weight", (width, self.in_features)
            if self.bias:
                yield f"{prefix}{stem}.bias", (width,)


@dataclass(frozen=True)
class VectorPart:
    """A small tensor used as it is: norm gains and biases, position tables."""

    name: str
    source: str
    shape: Shape

    def tensors(self, prefix: str) -> Iterator[tuple[str, Shape]]:
        yield f"{prefix}{self.source}", self.shape


@dataclass(frozen=True)
class RowsPart:
    """Some rows of a stored matrix of `shape`, which are all that is read of it; small, and used as they are."""

    name: str
    source: str
    rows: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True)
class ValueHeads:
    """Attention's values, in heads of `width`: the rows of one source tensor, and the columns of the part that reads
    what attention makes of them. Both can be rotated head by head."""

    source: str
    reader: str
    width: int


@dataclass(frozen=True)
class Layout:
    """All tensors of a model.

    Attributes:
        table: the token embeddings [vocab, hidden]; only gathered from, never multiplied, so never converted.
        layer_prefix: with a `{layer}` field.
        optional: tensors that may be in the checkpoint and have no part in the vectors (exact names or prefixes
            ending in a dot).
        wrappers: prefixes that saving a larger model puts before every name.
        values: where the family's attention allows them to be rotated.
        twins: other names of the table where the checkpoint ties it to its answers' matrix, of which one may be there.
        renamed: ends of names as early versions of transformers wrote them, and as they are now.
        rows: of the token embeddings, or of the matrix of a language model's answers, what a head reads.
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

    @property
    def can_rotate(self) -> bool:
        """Whether the residual stream can be rotated, and its readers and writers with it."""
        return any(part.residual for part in self.matrices)

    def finer_parts(self, form: WeightFormat) -> tuple[str, ...]:
        """Names of the matrices that a model of that format holds in a finer one."""
        return tuple(part.name for part in self.matrices if part.stored_in(form) is not form)

    def with_sensitive(self, names: Collection[str]) -> Layout:
        """The same tensors, of which those matrices are sensitive and no others."""
        return replace(self, matrices=tuple(replace(part, is_sensitive=part.name in names) for part in self.matrices))

    def prefix(self, layer: int) -> str:
        return self.layer_prefix.format(layer=layer)

    def tensors(self) -> Iterator[tuple[str, Shape]]:
        """Name and shape of every tensor that must be there, in the order of computation."""
        yield from self.table.tensors("")
        for layer in range(self.num_layers):
            for vector in self.vectors:
                yield from vector.tensors(self.prefix(layer))
            for matrix in self.matrices:
                yield from matrix.tensors(self.prefix(layer))
        for vector in self.shared:
            yield from vector.tensors("")
        if self.rows is not None:
            yield self.rows.source, self.rows.shape

    def is_optional(self, name: str) -> bool:
        return any(name == entry or (entry.endswith(".") and name.startswith(entry)) for entry in self.optional)
