"""In a process of its own: what is frozen stays so."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from farthing.core.collector import spare_the_collector, spare_what_came
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


GROWN = """
import gc, weakref
from farthing.engine.memory import TRIM_GROWTH_BYTES, Trimmer
from farthing.core.collector import spare_the_collector

class Circle:
    def __init__(self):
        self.itself = self

def is_found_when_memory_grows():
    trimmer, circle = Trimmer(), Circle()
    found = weakref.ref(circle)
    del circle
    trimmer.watch(0)
    trimmer.watch(TRIM_GROWTH_BYTES)
    return found() is None

assert not is_found_when_memory_grows(), "a look through all objects of somebody else's process takes too long"
spare_the_collector()
assert is_found_when_memory_grows()
"""


def test_what_is_in_circles_is_found_when_a_server_grows() -> None:
    subprocess.run([sys.executable, "-c", GROWN], check=True, timeout=60)


def test_what_is_loaded_is_not_looked_through_again() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
