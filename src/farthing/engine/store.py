"""Where layers live. A store is asked for layers in order; they come ready on the device.

`ResidentStore` holds every layer on the device; `StreamedStore` makes each anew when its turn comes, so that a model of
any size needs the memory of one layer, and every pass the time to read and convert them all. The token embeddings stay
where the checkpoint's file is mapped: a batch gathers a few thousand rows of them, so they need neither device memory
nor conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch

from farthing.checkpoint.table import Table
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


class HostTable:
    """Token embeddings [vocab, hidden] on the host; what is gathered goes to `device`."""

    def __init__(self, table: Table, device: torch.device) -> None:
        self._table = table
        self._device = device

    def gather(self, ids: torch.Tensor) -> torch.Tensor:
        return self._table.index_select(0, ids).to(self._device)


class ResidentStore(HostTable):
    def __init__(
        self,
        table: Table,
        shared: Mapping[str, torch.Tensor],
        layers: Sequence[LayerWeights],
        device: torch.device,
    ) -> None:
        super().__init__(table, device)
        self.shared = shared
        self._layers = layers

    def layers(self) -> Iterator[LayerWeights]:
        return iter(self._layers)


class StreamedStore(HostTable):
    """`make_layer` reads, converts and binds the layer of that index."""

    def __init__(
        self,
        table: Table,
        shared: Mapping[str, torch.Tensor],
        make_layer: Callable[[int], LayerWeights],
        num_layers: int,
        device: torch.device,
    ) -> None:
        super().__init__(table, device)
        self.shared = shared
        self._make_layer = make_layer
        self._num_layers = num_layers

    def layers(self) -> Iterator[LayerWeights]:
        return map(self._make_layer, range(self._num_layers))
