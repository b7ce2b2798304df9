from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed")

# Most bytes of shared memory that a program may have (CUDA C++ Programming Guide, "Compute Capabilities").
SHARED_BYTES = {80: 163 * 1024, 86: 99 * 1024, 89: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024, 120: 99 * 1024}


@pytest.mark.parametrize("capability", SHARED_BYTES)
def test_the_kernels_compile_for_a_card_and_fit_its_shared_memory(capability: int, tmp_path: Path) -> None:
    script = Path(__file__).with_name("compiled.py")
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(script), str(capability)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    used = json.loads(done.stdout.splitlines()[-1])
    assert {name: num_bytes for name, num_bytes in used.items() if num_bytes > SHARED_BYTES[capability]} == {}
