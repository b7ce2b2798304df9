"""How much memory this process holds, and how much it could still have; read again and again while it serves.

In: the device, and what the plan may hold. Out: one `MemoryReading` for each place. Free memory depends on everyone
else on the machine or card, so a reading moves when others take memory too. Nothing is freed or refused here
(`farthing.serving.governor` does that).

On the host, the free memory is the smaller of what the machine has free and what the control groups leave, and Linux
says how much time was lost to waiting for memory (https://docs.kernel.org/accounting/psi.html). On a card, the driver
says what is free, counting all processes, as NVML would; memory that torch's allocator keeps for later counts as free.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from farthing.core.deferred import dataclass
from farthing.engine.plan.cgroup import ROOT, groups, read_lines
from farthing.engine.plan.cpu import host_memory_bytes


@dataclass(frozen=True)
class MemoryReading:
    """
    Attributes:
        place: "host", "device", or "budget" for what the settings allow.
        used_bytes: what this process holds and the system cannot take back by itself.
        limit_bytes: what this process could hold: `used_bytes` and what is free, or the budget.
        stalled: the share of the last ten seconds in which nothing ran because all waited for memory, 0 to 1.
    """

    place: str
    used_bytes: int
    limit_bytes: int
    stalled: float = 0.0

    @property
    def level(self) -> float:
        """The used share of the limit, 0 to 1; of a budget it may be more."""
        return self.used_bytes / max(1, self.limit_bytes)


class MemoryMeter(Protocol):
    def read(self) -> Sequence[MemoryReading]:
        """At least one reading."""
        ...


class HostMeter:
    """Reads the host's memory and, if there is one, the budget.

    Pages of mapped files count as free on the host, since the system takes them back when it must; in a budget they
    count as used.
    """

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


def process_bytes(root: Path = ROOT) -> dict[str, int]:
    """The sizes of this process in bytes, by their names in /proc/self/status; empty where there is no such file."""
    lines = (line.split() for line in read_lines(root / "proc/self/status"))
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1] == "kB"}


def stalled_share(root: Path = ROOT) -> float:
    """The largest stalled share of the machine and this process's control groups; 0 where the kernel counts none."""
    files = [root / "proc/pressure/memory", *(group / "memory.pressure" for group in groups("memory", root))]
    return max((full_share(read_lines(path)) for path in files), default=0.0)


def full_share(lines: Sequence[str]) -> float:
    """The share in the "full" line of a pressure file: "full avg10=1.25 avg60=..." is 0.0125."""
    for line in lines:
        words = line.split()
        if words and words[0] == "full":
            return float(words[1].partition("=")[2]) / 100
    return 0.0
