"""The interface between where a model's tensors come from and where its layers live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from farthing.checkpoint.table import Table
from farthing.core.arrays import Array
from farthing.models.layout import MatrixPart


class ModelTensors(Protocol):
    """A model's tensors as its weight format stores them; each call reads them anew."""

    def table(self) -> Table:
        """The token embeddings [vocab, hidden] as stored, mapped from the file."""
        ...

    def shared(self) -> dict[str, Array]:
        """The layout's shared vectors by part name, fp32."""
        ...

    def vectors(self, layer: int) -> dict[str, Array]:
        """A layer's vectors by part name, fp32."""
        ...

    def packed(self, layer: int, part: MatrixPart) -> Mapping[str, Array]:
        """The tensors that the format's `pack` makes of a layer's matrix."""
        ...

    def bias(self, layer: int, part: MatrixPart) -> Array | None:
        """The part's bias [out_features]; None where it has none."""
        ...

    def mapped(self, layer: int) -> Iterator[Array]:
        """A layer's stored arrays where they lie in the mapped file; their pages can be read ahead and let go."""
        ...
