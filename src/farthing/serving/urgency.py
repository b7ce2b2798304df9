"""How soon a request is wanted: its lane in the queue, and how long its caller waits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal, get_args

from farthing.core.errors import DeadlineError

LaneName = Literal["interactive", "bulk"]
LANES: tuple[LaneName, ...] = get_args(LaneName)  # the first goes first


@dataclass(frozen=True)
class Urgency:
    """
    Attributes:
        lane: interactive requests go before bulk ones, which have a share of every batch.
        timeout_s: from `start_s` on; what is not finished by then is an error. None: no limit.
        start_s: by `time.monotonic`.
    """

    lane: LaneName = "interactive"
    timeout_s: float | None = None
    start_s: float = field(default_factory=time.monotonic)

    def is_over(self, now_s: float) -> bool:
        return self.timeout_s is not None and now_s >= self.start_s + self.timeout_s

    def left_s(self) -> float | None:
        """Until the limit; None without one, 0 when it has passed."""
        return None if self.timeout_s is None else max(0.0, self.start_s + self.timeout_s - time.monotonic())

    def error(self) -> DeadlineError:
        """What the caller gets when the limit has passed."""
        return DeadlineError(
            f"The request was not finished within its time limit of {(self.timeout_s or 0) * 1000:.0f} ms; what was "
            "left of it is not computed. Allow more time, or send fewer texts at once."
        )


USUAL = Urgency()  # what a request has that does not say
