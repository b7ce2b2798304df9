"""The interface between where a model's tensors come from and where its layers live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import torch

from farthing.checkpoint.table import Table
from farthing.models.layout import MatrixPart


class ModelTensors(Protocol):
    """A model's tensors as its weight format stores them; each call reads them anew."""

    def table(self) -> Table:
        """The token embeddings [vocab, hidden] as stored, mapped from the file."""
        ...

    def shared(self) -> dict[str, torch.Tensor]:
        """The layout's shared vectors by part name, fp32."""
        ...

    def vectors(self, layer: int) -> dict[str, torch.Tensor]:
        """A layer's vectors by part name, fp32."""
        ...

    def packed(self, layer: int, part: MatrixPart) -> Mapping[str, torch.Tensor]:
        """The tensors that the format's `pack` makes of a layer's matrix."""
        ...

    def bias(self, layer: int, part: MatrixPart) -> torch.Tensor | None:
        """The part's bias [out_features]; None where it has none."""
        ...

    def mapped(self, layer: int) -> Iterator[torch.Tensor]:
        """A layer's stored tensors where they lie in the mapped file; their pages can be read ahead and let go."""
        ...
