"""How much memory this process holds on cards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from farthing.engine.cards.facts import card_free_bytes
from farthing.engine.meter import HostMeter, MemoryReading


class CardMeter:
    """Reads the memory of the cards and of the host; each card has the whole budget. Not run on a card yet."""

    def __init__(self, devices: Sequence[str], budget_bytes: int | None = None) -> None:
        self._devices, self._budget_bytes, self._host = devices, budget_bytes, HostMeter()

    def read(self) -> Sequence[MemoryReading]:
        return [reading for device in self._devices for reading in self._read_card(device)] + [*self._host.read()]

    def _read_card(self, device: str) -> Iterator[MemoryReading]:
        used = torch.cuda.memory_allocated(device)
        yield MemoryReading("device", used, used + card_free_bytes(device))
        if self._budget_bytes is not None:
            yield MemoryReading("budget", torch.cuda.memory_reserved(device), self._budget_bytes)
