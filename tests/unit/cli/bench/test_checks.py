from __future__ import annotations

import subprocess
import sys
import time

import pytest

from farthing.cli.bench.checks import Meter, require_all_computed, share_of_peak
from farthing.core.errors import MeasurementError


def test_a_share_of_a_peak_is_at_most_all_of_it() -> None:
    assert share_of_peak(80.0, 100.0, "throughput") == 0.8
    assert share_of_peak(100.0, 100.0, "throughput") == 1.0
    with pytest.raises(MeasurementError, match="throughput reaches 112% of the peak, which cannot be"):
        share_of_peak(112.0, 100.0, "throughput")


def test_tokens_that_were_not_computed_are_an_error() -> None:
    require_all_computed(128, 128, "latency")
    with pytest.raises(MeasurementError, match="latency: 16 tokens were computed of 128 that were sent"):
        require_all_computed(16, 128, "latency")


def test_another_program_is_seen() -> None:
    meter = Meter.now()
    if meter.machine_s is None:
        pytest.skip("no /proc/stat here")
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        time.sleep(1.0)
        elsewhere = meter.cores_elsewhere()
        other.kill()
    assert elsewhere is not None
    assert elsewhere > 0.3  # a core of its own, where this machine has one to spare
    assert Meter(0.0, None, 0.0).cores_elsewhere() is None
