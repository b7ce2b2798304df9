from __future__ import annotations

import os
from pathlib import Path

import pytest

from farthing.engine.plan import cpu
from farthing.engine.plan.cpu import cpu_threads, host_memory_bytes, physical_cores

GIB = 2**30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages of two cores of two hyperthreads; CPU n and n + 4 share a core."""
    for number in range(8):
        topology = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{number % 4},{number % 4 + 4}\n")
    allow(monkeypatch, range(8))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


def allow(monkeypatch: pytest.MonkeyPatch, cpus: range | set[int]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(cpus))


def test_the_machines_busy_time_is_read_without_its_idle_time(tmp_path: Path) -> None:
    assert cpu.busy_seconds(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "stat").write_text("cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert cpu.busy_seconds(tmp_path) == (100 + 20 + 30 + 6 + 7 + 8) / os.sysconf("SC_CLK_TCK")


def write_memory(root: Path, files: dict[str, str]) -> None:
    for name, text in {"proc/self/cgroup": "0::/", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


def test_hyperthreads_of_a_core_count_once(machine: Path) -> None:
    assert physical_cores(machine) == 4
    assert cpu_threads(machine) == 4


@pytest.mark.parametrize(("cpus", "cores"), [({0}, 1), ({0, 4}, 1), ({0, 1}, 2), ({0, 1, 4, 5, 6}, 3)])
def test_only_cores_in_the_affinity_mask_count(
    machine: Path, monkeypatch: pytest.MonkeyPatch, cpus: set[int], cores: int
) -> None:
    allow(monkeypatch, cpus)
    assert cpu_threads(machine) == cores


def test_cpus_of_unknown_topology_count_as_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, range(3))
    assert physical_cores(tmp_path) == 3


@pytest.mark.parametrize(("quota_us", "threads"), [(1_000, 1), (100_000, 1), (150_000, 2), (900_000, 4)])
def test_a_cpu_quota_limits_the_threads(machine: Path, quota_us: int, threads: int) -> None:
    write_memory(machine, {"sys/fs/cgroup/cpu.max": f"{quota_us} 100000"})
    assert cpu_threads(machine) == threads


@pytest.mark.parametrize(("asked", "threads"), [("3", 3), ("99", 4), ("2,1", 2), ("", 4), ("0", 4), ("many", 4)])
def test_omp_num_threads_limits_the_threads(
    machine: Path, monkeypatch: pytest.MonkeyPatch, asked: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cpu_threads(machine) == threads


def test_this_machine_is_within_what_the_system_says() -> None:
    total, free = host_memory_bytes()
    assert 0 < free <= total <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 1 <= cpu_threads() <= physical_cores() <= len(os.sched_getaffinity(0))


def test_a_groups_memory_limit_counts_where_it_is_less(tmp_path: Path) -> None:
    meminfo = f"MemTotal: {8 * 2**20} kB\nMemAvailable: {4 * 2**20} kB"
    write_memory(tmp_path, {"proc/meminfo": meminfo})
    assert host_memory_bytes(tmp_path) == (8 * GIB, 4 * GIB)
    used = {"sys/fs/cgroup/memory.current": str(GIB)}
    write_memory(tmp_path, {**used, "sys/fs/cgroup/memory.max": str(6 * GIB)})
    assert host_memory_bytes(tmp_path) == (6 * GIB, 4 * GIB)
    write_memory(tmp_path, {**used, "sys/fs/cgroup/memory.max": str(2 * GIB)})
    assert host_memory_bytes(tmp_path) == (2 * GIB, GIB)
