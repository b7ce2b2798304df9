"""The limits that Linux control groups set for this process, in versions 1 and 2, however deep it is nested.

A process obeys the limits of its own group and of all groups above it. /proc/self/cgroup names its own group. Where a
container does not show the folder of that name, the folder that is mounted is the container's group.

https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html and
https://docs.kernel.org/scheduler/sched-bwc.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from farthing.core.deferred import dataclass

ROOT = Path("/")


@dataclass(frozen=True)
class MemoryLimit:
    """
    Attributes:
        limit_bytes: the most bytes that the group may hold.
        used_bytes: the bytes that the group holds, without the file pages that the kernel drops first when the limit is
            near (what Kubernetes calls the working set).
    """

    limit_bytes: int
    used_bytes: int

    @property
    def free_bytes(self) -> int:
        return max(0, self.limit_bytes - self.used_bytes)


def cpu_quota(root: Path = ROOT) -> float | None:
    """The processor time that this process may use, as a number of CPUs; None where nothing limits it."""
    quotas = []
    for group in groups("cpu", root):
        words = read_words(group / "cpu.max")
        words = words or [*read_words(group / "cpu.cfs_quota_us"), *read_words(group / "cpu.cfs_period_us")]
        if len(words) == 2 and all(map(str.isdigit, words)):  # without a quota version 2 says "max", version 1 "-1"
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def memory_limits(root: Path = ROOT) -> list[MemoryLimit]:
    """The memory limits of the groups that this process is in; groups without a limit are left out."""
    found = []
    for group in groups("memory", root):
        limit = read_words(group / "memory.max") or read_words(group / "memory.limit_in_bytes")
        used = read_words(group / "memory.current") or read_words(group / "memory.usage_in_bytes")
        if limit and used and limit[0].isdigit():
            found.append(MemoryLimit(int(limit[0]), max(0, int(used[0]) - inactive_file_bytes(group))))
    return found


def inactive_file_bytes(group: Path) -> int:
    """The group's inactive file pages. Version 1 counts the groups below only in the names that begin with "total_"."""
    counted = dict(line.split() for line in read_lines(group / "memory.stat"))
    return int(counted.get("total_inactive_file", counted.get("inactive_file", 0)))


def groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of the groups whose `controller` limits this process, the innermost first."""
    for line in read_lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        is_version_2 = not controllers
        if is_version_2 or controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / ("" if is_version_2 else controller)
            own = mount / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(mount))


def read_lines(path: Path) -> list[str]:
    """The file's lines; none where this system has no such file."""
    return path.read_text().splitlines() if path.is_file() else []


def read_words(path: Path) -> list[str]:
    return " ".join(read_lines(path)).split()
