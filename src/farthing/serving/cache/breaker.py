"""Leaves a service alone after it has failed several times in a row, and tries it again now and then.

The pattern is the circuit breaker of Nygard, "Release It!". Clocks that jump do not matter: the time is monotonic.
"""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_FAILURES = 5
PAUSE_S = 5.0


class Breaker:
    """For one event loop.

    Args:
        max_failures: in a row, after which nobody asks.
        pause_s: after which one may try again, and if that fails too, the next one after as long.
    """

    def __init__(
        self,
        max_failures: int = MAX_FAILURES,
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_failures, self._pause_s, self._clock = max_failures, pause_s, clock
        self._num_failures = 0
        self._retry_at = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether everybody may ask."""
        return self._num_failures < self._max_failures

    def allows(self) -> bool:
        """Whether the caller may ask now. While it is open, one caller a pause may."""
        if self.is_closed:
            return True
        if self._clock() < self._retry_at:
            return False
        self._retry_at = self._clock() + self._pause_s
        return True

    def succeeded(self) -> bool:
        """True when this closed it."""
        was_open, self._num_failures = not self.is_closed, 0
        return was_open

    def failed(self) -> bool:
        """True when this opened it."""
        self._num_failures += 1
        self._retry_at = self._clock() + self._pause_s
        return self._num_failures == self._max_failures
