"""What of the past still counts against a limit a minute.

In: amounts that were spent, minute by minute. Out: how much of them counts now, and when less will.

The running minute counts in full, and of the one before it the part that lies within the last 60 seconds. Who spent
more than the limit in a minute (the number of tokens is known when they were computed) has the rest count in the next
minute, and so on: every minute pays for one limit, until all is paid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WINDOW_S = 60


@dataclass(frozen=True)
class Spent:
    """
    Attributes:
        limit: a minute.
        previous: spent in the minute before the running one, at most the limit.
        current: spent in the running one, with what earlier ones left to pay.
        passed: part of the running one that is over, from 0 to 1.
    """

    limit: int
    previous: int
    current: int
    passed: float

    @property
    def amount(self) -> float:
        return self.previous * (1 - self.passed) + self.current

    def after(self, minutes: int) -> tuple[int, int]:
        """`previous` and `current` when so many minutes more have begun, if nothing more is spent."""
        if minutes < 1:
            return self.previous, self.current
        left = max(self.current - (minutes - 1) * self.limit, 0)
        return min(left, self.limit), max(left - self.limit, 0)

    def plus(self, amount: int) -> Spent:
        """With `amount` more. Where it is negative, what was spent last is given back first, and no more than all."""
        current = self.current + amount
        return Spent(self.limit, max(self.previous + min(current, 0), 0), max(current, 0), self.passed)

    def wait_s(self, most: float) -> float:
        """Seconds until no more than `most` counts, if nothing more is spent."""
        if self.amount <= most:
            return 0.0
        minutes = max(math.ceil((self.current - most) / self.limit), 0)
        previous, current = self.after(minutes)
        passed = max(1 - (most - current) / previous, 0.0) if previous else 0.0
        return (minutes + passed - self.passed) * WINDOW_S
