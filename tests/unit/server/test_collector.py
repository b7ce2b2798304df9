"""In a process of its own: what is frozen stays so."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from farthing.server.collector import spare_the_collector, spare_what_came
before = gc.get_freeze_count()
spare_what_came()
assert gc.get_freeze_count() == before, "this process is nobody's yet"
spare_the_collector()
frozen = gc.get_freeze_count()
assert frozen > 1000
modules = [[number] for number in range(1000)]
spare_what_came()
assert gc.get_freeze_count() >= frozen + 1000
assert gc.collect() == 0
"""


def test_what_is_loaded_is_not_looked_through_again() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
