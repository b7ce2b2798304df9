from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from farthing.engine.meter import HostMeter, MemoryReading, full_share, stalled_share

MIB = 2**20
FILES = {
    "proc/self/cgroup": "0::/box",
    "proc/meminfo": f"MemTotal: {1000 * 1024} kB\nMemAvailable: {600 * 1024} kB",
    "proc/self/status": f"Name:\tpython\nVmRSS:\t{300 * 1024} kB\nRssAnon:\t{200 * 1024} kB\nRssShmem:\t0 kB",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path, FILES)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_what_could_be_held_is_what_is_held_and_what_is_free(root: Path) -> None:
    (reading,) = HostMeter(root=root).read()
    assert reading == MemoryReading("host", 200 * MIB, 800 * MIB)
    assert reading.level == 0.25


def test_a_control_group_that_leaves_less_counts(root: Path) -> None:
    write(root, {"sys/fs/cgroup/box/memory.max": f"{256 * MIB}", "sys/fs/cgroup/box/memory.current": f"{206 * MIB}"})
    (reading,) = HostMeter(root=root).read()
    assert reading == MemoryReading("host", 200 * MIB, 250 * MIB)


def test_a_budget_counts_mapped_files_too(root: Path) -> None:
    _, budget = HostMeter(400 * MIB, root).read()
    assert budget == MemoryReading("budget", 300 * MIB, 400 * MIB)


@pytest.mark.parametrize(("line", "share"), [("full avg10=12.50 avg60=1.00 total=7", 0.125), ("some avg10=9.00", 0.0)])
def test_time_in_which_all_waited_for_memory_is_a_share(line: str, share: float) -> None:
    assert full_share(["some avg10=50.00 avg60=0.00 total=1", line]) == share


def test_the_worst_pressure_of_the_machine_and_the_groups_counts(root: Path) -> None:
    assert stalled_share(root) == 0
    write(root, {"proc/pressure/memory": "full avg10=1.00"})
    write(root, {"sys/fs/cgroup/box/memory.pressure": "full avg10=30.00"})
    assert stalled_share(root) == 0.3


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc/self/status on this system")
def test_memory_that_this_process_takes_is_seen() -> None:
    # In a process of its own: in this one, what earlier tests held may be freed between the two readings.
    program = (
        "from farthing.engine.meter import process_bytes\n"
        "before = process_bytes()['RssAnon']\n"
        f"held = bytearray(b'1') * {64 * MIB}\n"
        "print(process_bytes()['RssAnon'] - before)"
    )
    taken = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(taken) == pytest.approx(64 * MIB, abs=2 * MIB)
