from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from farthing.core.errors import SettingsError
from farthing.engine import device
from farthing.engine.device import cpu_threads, default_threads, device_facts, host_memory_bytes

GIB = 2**30


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of /sys/fs/cgroup."""
    monkeypatch.setattr(device, "CGROUP", tmp_path)
    return tmp_path


def machine_threads() -> int:
    return min(default_threads(), len(os.sched_getaffinity(0)))


def test_facts_of_this_machine() -> None:
    facts = device_facts("cpu")
    assert (facts.device, facts.is_cpu, facts.flash_attention) == ("cpu", True, False)
    assert facts.name
    assert 0 < facts.free_bytes <= facts.total_bytes
    assert facts.total_bytes <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 1 <= facts.num_threads <= (os.cpu_count() or 1)
    flags = Path("/proc/cpuinfo").read_text().split()
    assert facts.fast_bf16 is ("amx_tile" in flags and "amx_bf16" in flags)


def test_auto_is_the_card_where_there_is_one() -> None:
    assert device_facts("auto").is_cpu is not torch.cuda.is_available()


@pytest.mark.parametrize("name", ["gpu0", "cuda:99", "cuda:x", "cuda:-1", "mps", "", "CPU", "cpu:0"])
def test_an_unknown_device_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        device_facts(name)
    assert str(caught.value).startswith(f"device is {name!r}; available: cpu")
    assert caught.value.param == "device"


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_facts_of_a_card(name: str) -> None:
    facts = device_facts(name)
    assert (facts.device, facts.is_cpu) == ("cuda:0", False)
    assert facts.name == torch.cuda.get_device_name(0)
    assert 0 < facts.free_bytes <= facts.total_bytes
    assert facts.fast_bf16 is (torch.cuda.get_device_capability(0) >= (8, 0))


@pytest.mark.parametrize(
    ("cpu_max", "allowed"), [("max 100000", 10**6), ("50000 100000", 1), ("100000 100000", 1), ("150000 100000", 2)]
)
def test_the_cgroups_cpu_quota_limits_the_threads(cgroup: Path, cpu_max: str, allowed: int) -> None:
    (cgroup / "cpu.max").write_text(cpu_max + "\n")
    assert cpu_threads() == min(machine_threads(), allowed)


def test_without_a_cgroup_the_machine_counts(cgroup: Path) -> None:
    total, free = host_memory_bytes()
    assert total == pytest.approx(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), rel=0.01)
    assert 0 < free < total
    assert cpu_threads() == machine_threads()


def test_a_cgroups_memory_limit_counts_where_it_is_less(cgroup: Path) -> None:
    (cgroup / "memory.max").write_text(f"{GIB}\n")
    (cgroup / "memory.current").write_text(f"{GIB // 4}\n")
    assert host_memory_bytes() == (GIB, GIB * 3 // 4)


def test_a_cgroup_over_its_limit_has_nothing_free(cgroup: Path) -> None:
    (cgroup / "memory.max").write_text(f"{GIB}\n")
    (cgroup / "memory.current").write_text(f"{GIB + 4096}\n")
    assert host_memory_bytes() == (GIB, 0)


@pytest.mark.parametrize("limit", ["max", str(2**62)])
def test_a_cgroup_without_a_limit_of_its_own_leaves_the_machines(cgroup: Path, limit: str) -> None:
    without, _ = host_memory_bytes()
    (cgroup / "memory.max").write_text(limit + "\n")
    (cgroup / "memory.current").write_text("4096\n")
    assert host_memory_bytes()[0] == without
