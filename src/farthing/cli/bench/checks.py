"""What keeps a figure from lying: nothing was spared that should have been computed, and no share is beyond the whole.

Benchmarks outside of this package use it too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from farthing.core.errors import MeasurementError
from farthing.engine.plan.cpu import busy_seconds

LEAST_ELSEWHERE = 0.1  # cores that are worth a word: a machine that has nothing to do uses less


def require_all_computed(num_computed: int, num_sent: int, what: str) -> None:
    """Raises `MeasurementError` where texts that have nothing in common were not computed as a whole, or once each.

    A beginning that came before is held, and a figure would count its tokens as if they had been computed.
    """
    if num_computed != num_sent:
        raise MeasurementError(
            f"{what}: {num_computed:,} tokens were computed of {num_sent:,} that were sent, where nothing is shared, "
            "so that tokens a second would mean nothing. Measure with --share-prefixes off, and report this."
        )


def share_of_peak(reached: float, peak: float, what: str) -> float:
    """What part of a peak was reached, of the same unit. Raises `MeasurementError` where it is more than all of it."""
    share = reached / peak
    if share > 1:
        raise MeasurementError(
            f"{what} reaches {share:.0%} of the peak, which cannot be: one of the two was measured wrongly. Measure "
            "again while nothing else runs."
        )
    return share


@dataclass(frozen=True)
class Meter:
    """Seconds of processor time that this process and the whole machine had used, and the time, at one moment."""

    own_s: float
    machine_s: float | None
    at_s: float

    @classmethod
    def now(cls) -> Meter:
        return cls(time.process_time(), busy_seconds(), time.perf_counter())

    def cores_elsewhere(self) -> float | None:
        """How many cores other processes kept busy since then, on average; None where the system does not tell.

        Of the whole machine, also where this process may use a part of it only.
        """
        now = Meter.now()
        if self.machine_s is None or now.machine_s is None or now.at_s <= self.at_s:
            return None
        return max(0.0, (now.machine_s - self.machine_s) - (now.own_s - self.own_s)) / (now.at_s - self.at_s)
