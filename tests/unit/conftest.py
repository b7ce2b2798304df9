"""Memory measured where nothing else runs: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MIB = 2**20

PRELUDE = """
import json, sys
from pathlib import Path

def memory_bytes(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))

def resident_bytes():
    return memory_bytes("VmRSS")

def peak_bytes():
    return memory_bytes("VmHWM")
"""


@pytest.fixture(scope="session")
def measured() -> Callable[..., dict[str, Any]]:
    """Runs Python code in a new process and returns the JSON object that it prints last.

    The code has `resident_bytes()`, `peak_bytes()` and its arguments in `sys.argv[1:]`. Every buffer of 64 KiB and more
    gets pages of its own, so that the peak is what the code holds, not what the allocator keeps for later.
    """
    if not Path("/proc/self/status").is_file():
        pytest.skip("no /proc/self/status on this system")

    def run(code: str, *args: object) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + code, *map(str, args)],
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    return run
