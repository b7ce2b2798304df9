"""The interface between running batches and what computes them: the native kernels, or torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from farthing.core.arrays import Array
from farthing.models.batch.packed import PackedBatch

OnLayer = Callable[[int, int], object]


class Computing(Protocol):
    """A model's weights, where its plan wants them, and the pass over them."""

    @property
    def shared(self) -> Mapping[str, Array]:
        """The layout's shared vectors by part name, fp32."""
        ...

    @property
    def is_exact(self) -> bool:
        """Whether rows are computed in fp32 already, so that computing them again would give the same."""
        ...

    def rouse(self) -> None:
        """Get ready for a batch that comes at once."""
        ...

    def rows(self, batch: PackedBatch, *, exactly: bool = False) -> Array:
        """The pooled rows of a batch, [n, hidden] fp32, or the rows of all tokens where the batch is per token.

        With `exactly`, rows are computed in fp32.

        Raises:
            MemoryError: there was not enough memory.
        """
        ...
