"""How much memory this process holds, and how much it could still have: read again and again while it serves.

In: the device and what the plan may hold. Out: a `MemoryReading` a place. What is free counts everyone else on the
machine or card, so a reading moves when others take memory too. Nothing is freed or refused here
(`farthing.serving.governor` does that).

On the host the smaller of the machine's free memory and what the control groups leave counts, and Linux says how much
time was lost to waiting for memory (https://docs.kernel.org/accounting/psi.html). On a card the driver says what is
free, with all processes counted, as NVML would; what torch's allocator keeps for later counts as free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from farthing.engine.plan.cgroup import ROOT, groups, read_lines
from farthing.engine.plan.cpu import host_memory_bytes
from farthing.engine.plan.device import card_free_bytes


@dataclass(frozen=True)
class MemoryReading:
    """
    Attributes:
        place: "host", "device", or "budget" for what the settings allow.
        used_bytes: held by this process and not to be had back by the system alone.
        limit_bytes: what it could hold: that, and what is free.
        stalled: share of the last ten seconds in which nothing ran because all waited for memory, 0 to 1.
    """

    place: str
    used_bytes: int
    limit_bytes: int
    stalled: float = 0.0

    @property
    def level(self) -> float:
        """0 to 1 and, of a budget, beyond."""
        return self.used_bytes / max(1, self.limit_bytes)


class MemoryMeter(Protocol):
    def read(self) -> Sequence[MemoryReading]:
        """At least one reading."""
        ...


class HostMeter:
    """Pages of mapped files count as free, since the system takes them back when it must; in a budget they count."""

    def __init__(self, budget_bytes: int | None = None, root: Path = ROOT) -> None:
        self._budget_bytes, self._root = budget_bytes, root

    def read(self) -> Sequence[MemoryReading]:
        sizes = process_bytes(self._root)
        used = sizes.get("RssAnon", 0) + sizes.get("RssShmem", 0)
        _, free = host_memory_bytes(self._root)
        host = MemoryReading("host", used, used + free, stalled_share(self._root))
        if self._budget_bytes is None:
            return [host]
        return [host, MemoryReading("budget", sizes.get("VmRSS", 0), self._budget_bytes)]


class CardMeter:
    """The cards' memory and the host's; each card has the budget. Not run on a card yet."""

    def __init__(self, devices: Sequence[str], budget_bytes: int | None = None) -> None:
        self._devices, self._budget_bytes, self._host = devices, budget_bytes, HostMeter()

    def read(self) -> Sequence[MemoryReading]:
        return [reading for device in self._devices for reading in self._read_card(device)] + [*self._host.read()]

    def _read_card(self, device: str) -> Iterator[MemoryReading]:
        used = torch.cuda.memory_allocated(device)
        yield MemoryReading("device", used, used + card_free_bytes(device))
        if self._budget_bytes is not None:
            yield MemoryReading("budget", torch.cuda.memory_reserved(device), self._budget_bytes)


def process_bytes(root: Path = ROOT) -> dict[str, int]:
    """Sizes of this process by their names in /proc/self/status; none where there is no such file."""
    lines = (line.split() for line in read_lines(root / "proc/self/status"))
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1] == "kB"}


def stalled_share(root: Path = ROOT) -> float:
    """The worst of this process's control groups and the machine; 0 where the kernel does not count it."""
    files = [root / "proc/pressure/memory", *(group / "memory.pressure" for group in groups("memory", root))]
    return max((full_share(read_lines(path)) for path in files), default=0.0)


def full_share(lines: Sequence[str]) -> float:
    """Of the lines of a pressure file, the one that begins with "full": "full avg10=1.25 avg60=..." is 0.0125."""
    for line in lines:
        words = line.split()
        if words and words[0] == "full":
            return float(words[1].partition("=")[2]) / 100
    return 0.0
