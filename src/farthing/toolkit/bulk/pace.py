"""How many rows make a chunk: so many that a chunk is committed every few seconds on any machine."""

from __future__ import annotations

CHUNK_SECONDS = 5.0
FIRST_ROWS = 16
# A step up is bounded, because the first chunks of a run say little about the rest.
LARGEST_STEP = 4


class Pace:
    """`rows` is the size of the next chunk: `fixed` if given, else what the last chunk suggests, at most `limit`."""

    def __init__(self, fixed: int | None, limit: int) -> None:
        self.fixed = fixed
        self.limit = limit
        self.rows = fixed or min(FIRST_ROWS, limit)

    def observe(self, num_rows: int, seconds: float) -> None:
        """Learn from a chunk of `num_rows` that took `seconds`."""
        if self.fixed is None:
            wanted = round(num_rows * CHUNK_SECONDS / max(seconds, 1e-3))
            self.rows = max(1, min(wanted, self.rows * LARGEST_STEP, self.limit))
