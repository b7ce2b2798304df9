"""Layers in pinned host memory, each copied to the card while the one before it is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from farthing.models.torch_pass.start import LayerWeights

Tensors = Mapping[tuple[str, str], torch.Tensor]


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in host memory that a card can copy from while it computes."""
    return tensor.pin_memory() if torch.cuda.is_available() else tensor


class HostStore:
    """Holds layers in pinned host memory; its own stream copies one layer ahead into two slots on the device.

    `layers` holds the tensors of each layer by part and name, with the same shapes in all layers; `bind` makes weights
    of such tensors on the device. The copies overlap with computing only on a card, where this has not been run.
    """

    def __init__(
        self, layers: Sequence[Tensors], bind: Callable[[Tensors], LayerWeights], device: torch.device
    ) -> None:
        self._layers, self._bind, self._device = layers, bind, device
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
