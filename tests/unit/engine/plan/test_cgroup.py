"""Fake /proc and /sys trees under tmp_path."""

from __future__ import annotations

from pathlib import Path

import pytest

from farthing.engine.plan.cgroup import MemoryLimit, cpu_quota, memory_limits

GIB = 2**30


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def version_2(root: Path, group: str, files: dict[str, str]) -> Path:
    """A process in `group`; `files` lie under /sys/fs/cgroup."""
    tree = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    return write_tree(root, {"proc/self/cgroup": f"0::{group}", **tree})


def test_a_system_without_control_groups_limits_nothing(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert memory_limits(tmp_path) == []


@pytest.mark.parametrize(("text", "quota"), [("max 100000", None), ("50000 100000", 0.5), ("250000 100000", 2.5)])
def test_a_containers_quota_is_read(tmp_path: Path, text: str, quota: float | None) -> None:
    assert cpu_quota(version_2(tmp_path, "/", {"cpu.max": text})) == quota


@pytest.mark.parametrize(
    ("outer", "inner", "quota"), [("100000", "300000", 1), ("300000", "200000", 2), ("max", "200000", 2)]
)
def test_the_smallest_quota_of_nested_groups_counts(tmp_path: Path, outer: str, inner: str, quota: float) -> None:
    files = {"a/cpu.max": f"{outer} 100000", "a/b/cpu.max": "max 100000", "a/b/c/cpu.max": f"{inner} 100000"}
    assert cpu_quota(version_2(tmp_path, "/a/b/c", files)) == quota


def test_a_group_beside_ours_does_not_count(tmp_path: Path) -> None:
    assert cpu_quota(version_2(tmp_path, "/a", {"a/cpu.max": "max 100000", "b/cpu.max": "1000 100000"})) is None


@pytest.mark.parametrize("group", ["/docker/123", "/../../elsewhere"])
def test_what_is_mounted_counts_where_the_groups_folder_does_not_show(tmp_path: Path, group: str) -> None:
    assert cpu_quota(version_2(tmp_path, group, {"cpu.max": "400000 100000"})) == 4


@pytest.mark.parametrize(("quota_us", "quota"), [("-1", None), ("150000", 1.5)])
def test_version_1_says_quota_and_period_in_two_files(tmp_path: Path, quota_us: str, quota: float | None) -> None:
    files = {
        "proc/self/cgroup": "7:memory:/\n3:cpu,cpuacct:/docker/1\n1:name=systemd:/\n0::/",
        "sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us": quota_us,
        "sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us": "100000",
    }
    assert cpu_quota(write_tree(tmp_path, files)) == quota


def test_every_group_with_a_memory_limit_is_found_the_innermost_first(tmp_path: Path) -> None:
    files = {
        "a/memory.max": str(4 * GIB),
        "a/memory.current": str(3 * GIB),
        "a/b/memory.max": "max",
        "a/b/memory.current": str(GIB),
        "a/b/c/memory.max": str(2 * GIB),
        "a/b/c/memory.current": str(GIB),
        "memory.stat": "anon 1",
    }
    assert memory_limits(version_2(tmp_path, "/a/b/c", files)) == [
        MemoryLimit(2 * GIB, GIB),
        MemoryLimit(4 * GIB, 3 * GIB),
    ]


def test_version_1_keeps_memory_under_other_names(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/docker/1\n0::/",
        "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": str(2 * GIB),
        "sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes": str(GIB),
        "sys/fs/cgroup/memory/docker/1/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 4}",
    }
    (limit,) = memory_limits(write_tree(tmp_path, files))
    assert limit.free_bytes == GIB + GIB // 4


def test_file_pages_that_the_kernel_drops_first_count_as_free(tmp_path: Path) -> None:
    files = {"memory.max": str(GIB), "memory.current": str(GIB), "memory.stat": f"file 5\ninactive_file {GIB // 2}"}
    (limit,) = memory_limits(version_2(tmp_path, "/", files))
    assert limit.free_bytes == GIB // 2


def test_a_group_over_its_limit_has_nothing_free(tmp_path: Path) -> None:
    files = {"memory.max": str(GIB), "memory.current": str(GIB + 4096)}
    (limit,) = memory_limits(version_2(tmp_path, "/", files))
    assert limit.free_bytes == 0
