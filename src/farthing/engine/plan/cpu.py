"""The CPU and memory that this process may use: its affinity mask, its control groups and OMP_NUM_THREADS count."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

from farthing.engine.plan.cgroup import ROOT, cpu_quota, memory_limits, read_lines


def cpu_threads(root: Path = ROOT) -> int:
    """The number of threads worth computing with: one for each physical core of the affinity mask, within limits.

    The limits are the CPU quota and OMP_NUM_THREADS. Two hyperthreads share one core's multipliers.
    """
    quota, asked = cpu_quota(root), os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    limits = [physical_cores(root)]
    if quota is not None:
        limits.append(max(1, math.ceil(quota)))
    if asked.isdecimal() and int(asked) > 0:
        limits.append(int(asked))
    return min(limits)


def physical_cores(root: Path = ROOT) -> int:
    """The number of cores of the CPUs in the affinity mask; a CPU whose siblings are not known counts as a core."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    topology = root / "sys/devices/system/cpu"
    return len({siblings(topology / f"cpu{cpu}") or f"{cpu}" for cpu in os.sched_getaffinity(0)})


def siblings(cpu: Path) -> str:
    """The CPUs that share this one's core. Unlike core_id, it is unique on machines of several dies too."""
    return "".join(read_lines(cpu / "topology/thread_siblings_list"))


def host_memory_bytes(root: Path = ROOT) -> tuple[int, int]:
    """(total, free) bytes of memory: the machine's, or a control group's where that is less."""
    lines = map(str.split, read_lines(root / "proc/meminfo"))
    sizes = {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines}
    limits = memory_limits(root)
    total = min([sizes.get("MemTotal", 0), *(group.limit_bytes for group in limits)])
    return total, min([sizes.get("MemAvailable", 0), *(group.free_bytes for group in limits)])


def busy_seconds(root: Path = ROOT) -> float | None:
    """The processor time of all programs on all cores since the machine started; None where there is no /proc/stat.

    Time in which a core had nothing to do or waited for a disk does not count; time that a host took away (steal) does.
    """
    fields = next((line.split()[1:9] for line in read_lines(root / "proc/stat") if line.startswith("cpu ")), [])
    if len(fields) < 8:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def cpu_name() -> str:
    names = [
        line.partition(":")[2].strip() for line in read_lines(ROOT / "proc/cpuinfo") if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()
