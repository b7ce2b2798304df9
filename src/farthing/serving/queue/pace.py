"""How many tokens a second the model computes at present.

In: batches with their seconds. Out: tokens a second over about the last ten seconds of computing.
"""

from __future__ import annotations

import math

MEMORY_S = 10.0

# Of tokens that texts share, each text counts its own, as in the queue: so many times as many as are computed, at most.
# Prompts save about as much. What saves more, such as thousands of equal texts, tells nothing of the texts behind them.
MOST_SHARED = 4


def counted_tokens(num_tokens: int, num_computed: int) -> int:
    """What texts of so many tokens count for the speed."""
    return min(num_tokens, MOST_SHARED * num_computed)


class Speed:
    """An average over time, not over batches: many short ones count as much as a long one that takes as long.

    One thread notes, any may read.
    """

    def __init__(self) -> None:
        self._decayed = (0.0, 0.0)  # tokens, seconds; replaced as one

    @property
    def tokens_per_s(self) -> float | None:
        """None before the first batch."""
        tokens, seconds = self._decayed
        return tokens / seconds if seconds > 0 else None

    def note(self, num_tokens: int, seconds: float) -> None:
        """A batch of so many tokens took so long. It must have been full, since a small one tells less."""
        tokens, before = self._decayed
        kept = math.exp(-seconds / MEMORY_S)
        self._decayed = (tokens * kept + num_tokens, before * kept + seconds)
