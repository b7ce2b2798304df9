"""How much of the many alike cases is tried: a part by default, all with --slow (`make test-full`)."""

from __future__ import annotations

# Set by conftest.py before test modules are read.
FULL = False
PART, LEAST = 4, 5


def examples(count: int) -> int:
    """How many of `count` examples of a property are tried."""
    return count if FULL else max(LEAST, count // PART)
