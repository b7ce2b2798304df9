"""Where layers live. A store is asked for layers in order, and gives them ready on the device.

`ResidentStore` holds every layer on the device. `HostStore` holds layers in pinned host memory and copies each to the
device while the one before is computed. `StreamedStore` makes each layer when its turn comes, from tensors that lie in
a mapped file: the next layer is read ahead while one is computed, and the pages of the last are let go, so that a model
of any size needs the memory of one layer. The token embeddings are not converted, and stay where the checkpoint's file
is mapped: a batch gathers a few thousand rows of them. On a card that has room for them they are copied there.

Pages of a mapped file are read ahead before they are needed (`read_ahead`), and given back after use (`let_go`).
Nothing is copied and no value changes. Where the system has no madvise (Windows) nothing is done, so that pages stay
resident until the system wants them back.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch

from farthing.checkpoint.table import Table
from farthing.models.forward.forward_pass import LayerWeights

# Rows gathered before the table's pages are let go: each row may bring 64 KiB (Linux maps what lies around it too).
GATHER_ROWS = 256
Advise = Callable[[int, int, int], int]


def read_ahead(tensor: torch.Tensor) -> None:
    """Have the system read the tensor's bytes into the page cache; returns before they are there."""
    start = tensor.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    advise(start, tensor.data_ptr() + tensor.nbytes, "MADV_WILLNEED")


def let_go(tensor: torch.Tensor) -> None:
    """Take the tensor's pages out of this process's memory; later reads come from the page cache or the disk.

    This is only for tensors in a mapped file that nobody writes to: other memory would be lost. Pages that the tensor
    shares with its neighbours stay.
    """
    start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    advise(start, end, "MADV_DONTNEED")


def advise(start: int, end: int, advice: str) -> None:
    call = system_call()
    if call is not None and start < end:
        # This is only advice: should the system refuse it, the pages are read when they are touched, and stay.
        call(start, end - start, getattr(mmap, advice))


@functools.cache
def system_call() -> Advise | None:
    """The C library's madvise (https://man7.org/linux/man-pages/man2/madvise.2.html)."""
    if not hasattr(mmap, "MADV_DONTNEED"):
        return None
    call = ctypes.CDLL(None).madvise
    call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    found: Advise = call
    return found


class WeightStore(Protocol):
    @property
    def shared(self) -> Mapping[str, torch.Tensor]:
        """The layout's shared vectors by part name, on the device."""
        ...

    def gather(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings [tokens, hidden] of token ids [tokens] (int64, on the host), on the device."""
        ...

    def layers(self) -> Iterator[LayerWeights]:
        """The layers, first to last. One may be gone when the next is asked for, so the caller must keep none."""
        ...


class GatheringStore:
    """Gathers rows of the token embeddings [vocab, hidden], on the device or in a file mapped on the host.

    With `keeps_table`, the file's pages that were read stay in memory, which is faster; without it, none do.
    """

    def __init__(self, table: Table, device: torch.device, keeps_table: bool) -> None:
        self._table = table
        self._device = device
        self._keeps_table = keeps_table
        self._place = table.device if isinstance(table, torch.Tensor) else torch.device("cpu")

    def gather(self, ids: torch.Tensor) -> torch.Tensor:
        if self._keeps_table:
            return self._table.index_select(0, ids.to(self._place)).to(self._device)
        rows = torch.empty((ids.shape[0], self._table.shape[1]), dtype=self._table.dtype)
        for part, into in zip(torch.split(ids, GATHER_ROWS), torch.split(rows, GATHER_ROWS), strict=True):
            into.copy_(self._table.index_select(0, part))
            if isinstance(self._table, torch.Tensor):
                let_go(self._table)
        return rows.to(self._device)


class ResidentStore(GatheringStore):
    def __init__(
        self,
        table: Table,
        shared: Mapping[str, torch.Tensor],
        layers: Sequence[LayerWeights],
        device: torch.device,
        *,
        keeps_table: bool = True,
    ) -> None:
        super().__init__(table, device, keeps_table)
        self.shared = shared
        self._layers = layers
        for layer in layers:
            layer.stays = True

    def layers(self) -> Iterator[LayerWeights]:
        return iter(self._layers)


class HostStore(GatheringStore):
    """Holds layers in pinned host memory; its own stream copies one layer ahead into two slots on the device.

    `layers` holds the tensors of each layer by part and name, with the same shapes in all layers; `bind` makes weights
    of such tensors on the device. The copies overlap with computing only on a card, where this has not been run.
    """

    def __init__(
        self,
        table: Table,
        shared: Mapping[str, torch.Tensor],
        layers: Sequence[Mapping[tuple[str, str], torch.Tensor]],
        bind: Callable[[Mapping[tuple[str, str], torch.Tensor]], LayerWeights],
        device: torch.device,
    ) -> None:
        super().__init__(table, device, keeps_table=True)
        self.shared = shared
        self._layers, self._bind = layers, bind
        self._slots = [
            {name: torch.empty_like(tensor, device=device) for name, tensor in layers[0].items()} for _ in range(2)
        ]
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def layers(self) -> Iterator[LayerWeights]:
        copied = self._copy(0)
        for index in range(len(self._layers)):
            if copied is not None:
                torch.cuda.current_stream(self._device).wait_event(copied)
            if index + 1 < len(self._layers):
                copied = self._copy(index + 1)
            yield self._bind(self._slots[index % 2])

    def _copy(self, index: int) -> torch.cuda.Event | None:
        """Start copying a layer into its slot, after everything that was computed with the slot's old content."""
        slot, layer = self._slots[index % 2], self._layers[index]
        if self._copying is None:
            for name, tensor in layer.items():
                slot[name].copy_(tensor)
            return None
        self._copying.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._copying):
            for name, tensor in layer.items():
                slot[name].copy_(tensor, non_blocking=True)
        copied: torch.cuda.Event = self._copying.record_event()
        return copied


class StreamedStore(GatheringStore):
    """Makes layers when they are needed.

    `make_layer` binds the layer of an index; `mapped` gives the layer's tensors as they lie in the file.
    """

    def __init__(
        self,
        table: Table,
        shared: Mapping[str, torch.Tensor],
        make_layer: Callable[[int], LayerWeights],
        mapped: Callable[[int], Iterator[torch.Tensor]],
        num_layers: int,
        device: torch.device,
        *,
        keeps_table: bool = False,
    ) -> None:
        super().__init__(table, device, keeps_table)
        self.shared = shared
        self._make_layer, self._mapped = make_layer, mapped
        self._num_layers = num_layers

    def layers(self) -> Iterator[LayerWeights]:
        self._read_ahead(0)
        for index in range(self._num_layers):
            self._read_ahead(index + 1)
            try:
                yield self._make_layer(index)
            finally:  # also after the last layer, when nobody asks for more
                for tensor in self._mapped(index):
                    let_go(tensor)

    def _read_ahead(self, index: int) -> None:
        if index < self._num_layers:
            for tensor in self._mapped(index):
                read_ahead(tensor)
