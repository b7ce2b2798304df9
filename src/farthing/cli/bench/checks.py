"""Checks that keep figures honest: everything that should be computed was computed, and no share exceeds the whole.

Benchmarks outside of this package use this module too.
"""

from __future__ import annotations

import time

from farthing.core.deferred import dataclass
from farthing.core.errors import MeasurementError
from farthing.engine.plan.cpu import busy_seconds

LEAST_ELSEWHERE = 0.1  # busy cores; less is not reported, since even an idle machine uses a little


def require_all_computed(num_computed: int, num_sent: int, what: str) -> None:
    """Raise `MeasurementError` where not all tokens of texts that share nothing were computed, each exactly once.

    The engine holds prefixes that it has seen before; a figure would count their tokens as if they had been computed.
    """
    if num_computed != num_sent:
        raise MeasurementError(
            f"{what}: {num_computed:,} tokens were computed of {num_sent:,} that were sent, where nothing is shared, "
            "so that tokens a second would mean nothing. Measure with --share-prefixes off, and report this."
        )


def share_of_peak(reached: float, peak: float, what: str) -> float:
    """Return the share of a peak that was reached, both in the same unit. Raises `MeasurementError` if it is over 1."""
    share = reached / peak
    if share > 1:
        raise MeasurementError(
            f"{what} reaches {share:.0%} of the peak, which cannot be: one of the two was measured wrongly. Measure "
            "again while nothing else runs."
        )
    return share


@dataclass(frozen=True)
class Meter:
    """The processor time that this process and the whole machine had used at one moment, and the moment, in seconds."""

    own_s: float
    machine_s: float | None
    at_s: float

    @classmethod
    def now(cls) -> Meter:
        return cls(time.process_time(), busy_seconds(), time.perf_counter())

    def cores_elsewhere(self) -> float | None:
        """Return how many cores other processes have kept busy since then, on average; None where it is not known.

        All cores of the machine count, even if this process may use only some of them.
        """
        now = Meter.now()
        if self.machine_s is None or now.machine_s is None or now.at_s <= self.at_s:
            return None
        return max(0.0, (now.machine_s - self.machine_s) - (now.own_s - self.own_s)) / (now.at_s - self.at_s)
