"""How much came of late that goes before a request, and will go on coming, as far as one can tell.

In: the size of each request when it comes. Out: tokens a second of those that are smaller than a given one.
"""

from __future__ import annotations

from collections import deque

MEMORY_S = 30.0
MAX_REQUESTS = 1024  # remembered: bounds the time that it takes to look through them


class Arrivals:
    """Of the last `MEMORY_S` seconds, or of the newest `MAX_REQUESTS` where more came in less."""

    def __init__(self) -> None:
        self._newest: deque[tuple[float, int]] = deque(maxlen=MAX_REQUESTS)

    def note(self, num_tokens: int, now_s: float) -> None:
        self._newest.append((now_s, num_tokens))

    def tokens_per_s(self, fewer_than: int, now_s: float) -> float:
        """Of requests with fewer tokens than that."""
        since_s = now_s - MEMORY_S
        if len(self._newest) == MAX_REQUESTS:
            since_s = max(since_s, min(self._newest[0][0], now_s - 1))
        found = (num_tokens for at_s, num_tokens in self._newest if at_s >= since_s and num_tokens < fewer_than)
        return sum(found) / (now_s - since_s)
