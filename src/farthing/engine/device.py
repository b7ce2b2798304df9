"""Facts about the device that decide how a model is computed. Measures nothing and changes nothing."""

from __future__ import annotations

import functools
import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from farthing.core.errors import SettingsError
from farthing.models.attention import has_varlen

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class DeviceFacts:
    """
    Attributes:
        device: "cpu" or "cuda:N".
        name: of the processor or card.
        total_bytes, free_bytes: device memory; on a CPU what the cgroup allows counts.
        fast_bf16: bf16 products are faster than fp32 ones (on CPUs: only with AMX).
        flash_attention: the variable-length attention kernel runs here (CUDA, compute capability 8.0 and up).
        num_threads: threads worth using on the CPU.
    """

    device: str
    name: str
    total_bytes: int
    free_bytes: int
    fast_bf16: bool
    flash_attention: bool
    num_threads: int

    @property
    def is_cpu(self) -> bool:
        return self.device == "cpu"


def device_facts(device: str) -> DeviceFacts:
    """Facts of "cpu", "cuda", "cuda:N", or of the best there is ("auto").

    Raises:
        SettingsError: no such device; says which there are.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return cpu_facts()
    kind, _, index = device.partition(":")
    count = torch.cuda.device_count()
    if kind != "cuda" or not (index or "0").isdigit() or int(index or 0) >= count:
        available = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise SettingsError(f"device is {device!r}; available: {available}", param="device")
    return cuda_facts(int(index or 0))


def cpu_facts() -> DeviceFacts:
    total, free = host_memory_bytes()
    return DeviceFacts(
        device="cpu",
        name=cpu_name(),
        total_bytes=total,
        free_bytes=free,
        fast_bf16=torch.cpu._is_amx_tile_supported(),
        flash_attention=False,
        num_threads=cpu_threads(),
    )


def cuda_facts(index: int) -> DeviceFacts:
    free, total = torch.cuda.mem_get_info(index)
    modern = torch.cuda.get_device_capability(index) >= (8, 0)
    return DeviceFacts(
        device=f"cuda:{index}",
        name=torch.cuda.get_device_name(index),
        total_bytes=total,
        free_bytes=free,
        fast_bf16=modern,
        flash_attention=modern and has_varlen(),
        num_threads=cpu_threads(),
    )


def cpu_threads() -> int:
    """torch's own choice (physical cores, OMP_NUM_THREADS), within the affinity mask and the cgroup's CPU quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota, period, *_ = [*read_words(CGROUP / "cpu.max"), "max", "max"][:2]
    if quota.isdigit() and period.isdigit():
        allowed = min(allowed, max(1, math.ceil(int(quota) / int(period))))
    return min(default_threads(), allowed)


@functools.cache
def default_threads() -> int:
    """torch's choice before any `Runner` changed it: it is one number for the whole process."""
    return torch.get_num_threads()


def host_memory_bytes() -> tuple[int, int]:
    """(total, free) bytes: the machine's, or the cgroup's where that is less."""
    sizes = {line[0].rstrip(":"): int(line[1]) * 1024 for line in map(str.split, read_lines(Path("/proc/meminfo")))}
    total, free = sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)
    limit, used = read_words(CGROUP / "memory.max"), read_words(CGROUP / "memory.current")
    if limit and used and limit[0].isdigit():
        total = min(total, int(limit[0]))
        free = min(free, max(0, int(limit[0]) - int(used[0])))
    return total, free


def cpu_name() -> str:
    names = [
        line.partition(":")[2].strip() for line in read_lines(Path("/proc/cpuinfo")) if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def read_lines(path: Path) -> list[str]:
    """The file's lines; none where this system has no such file."""
    return path.read_text().splitlines() if path.is_file() else []


def read_words(path: Path) -> list[str]:
    return " ".join(read_lines(path)).split()
