"""A budget holds under load: a process of its own, watched by the kernel's own count of its peak."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BUDGET_BYTES = 400 * 10**6
CODE = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from farthing import Embedder

with Embedder(sys.argv[1], memory=f"{sys.argv[2]}B", residency=sys.argv[3], context_length=2048) as embedder:
    lengths = [2000 if number in (7, 31) else 1 + number * 37 % 200 for number in range(50)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda length: embedder.encode("word " * length, truncate=True), lengths))
    plan = embedder.plan
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
finite = sum(bool(np.isfinite(vector).all()) for vector in found)
print(json.dumps({"peak": peak, "answers": finite, "planned": plan.ledger.total("host"), "how": plan.residency}))
"""


@pytest.mark.parametrize("residency", ["resident", "disk"])
def test_mixed_requests_with_two_long_texts_are_all_answered_inside_the_budget(
    tiny_qwen3: Path, residency: str
) -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("no /proc/self/status on this system")
    command = [sys.executable, "-c", CODE, str(tiny_qwen3), str(BUDGET_BYTES), residency]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["answers"], result["how"]) == (50, residency)
    assert result["planned"] <= BUDGET_BYTES
    assert result["peak"] <= BUDGET_BYTES
