"""Where layers live. A store is asked for layers in order; they come ready on the device.

`ResidentStore` holds every layer on the device. The token embeddings stay where the checkpoint's file is mapped: a
batch gathers a few thousand rows of them, so they need neither device memory nor conversion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import torch

from farthing.models.family import LayerWeights


class WeightStore(Protocol):
    @property
    def shared(self) -> Mapping[str, torch.Tensor]:
        """The layout's shared vectors by part name, on the device."""
        ...

    def gather(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings [tokens, hidden] of token ids [tokens] (int64, on the host), on the device."""
        ...

    def layers(self) -> Iterator[LayerWeights]:
        """Each layer, first to last; the one before may be gone when the next is asked for."""
        ...


class ResidentStore:
    def __init__(
        self,
        table: torch.Tensor,
        shared: Mapping[str, torch.Tensor],
        layers: Sequence[LayerWeights],
        device: torch.device,
    ) -> None:
        self.shared = shared
        self._table = table  # [vocab, hidden], on the host
        self._layers = layers
        self._device = device

    def gather(self, ids: torch.Tensor) -> torch.Tensor:
        return self._table[ids].to(self._device)

    def layers(self) -> Iterator[LayerWeights]:
        return iter(self._layers)
