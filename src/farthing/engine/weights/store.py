"""Where layers live. A store is asked for layers in order, and gives them ready to compute with.

`ResidentStore` holds every layer. `StreamedStore` makes each layer when its turn comes, from tensors that lie in a
mapped file: the next layer is read ahead while one is computed, and the pages of the last are let go, so that a model
of any size needs the memory of one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from farthing.core.arrays import Array
from farthing.engine.weights.pages import let_go, read_ahead

Layer = TypeVar("Layer", covariant=True)


class WeightStore(Protocol[Layer]):
    def layers(self) -> Iterator[Layer]:
        """The layers, first to last. One may be gone when the next is asked for, so the caller must keep none."""
        ...


Held = TypeVar("Held")


class ResidentStore(Generic[Held]):
    def __init__(self, layers: Sequence[Held]) -> None:
        self._layers = layers

    def layers(self) -> Iterator[Held]:
        return iter(self._layers)


class StreamedStore(Generic[Held]):
    """Makes layers when they are needed.

    `make_layer` makes the layer of an index; `mapped` gives the layer's arrays as they lie in the file.
    """

    def __init__(
        self, make_layer: Callable[[int], Held], mapped: Callable[[int], Iterator[Array]], num_layers: int
    ) -> None:
        self._make_layer, self._mapped = make_layer, mapped
        self._num_layers = num_layers

    def layers(self) -> Iterator[Held]:
        self._read_ahead(0)
        for index in range(self._num_layers):
            self._read_ahead(index + 1)
            try:
                yield self._make_layer(index)
            finally:  # also after the last layer, when nobody asks for more
                for array in self._mapped(index):
                    let_go(array)

    def _read_ahead(self, index: int) -> None:
        if index < self._num_layers:
            for array in self._mapped(index):
                read_ahead(array)
