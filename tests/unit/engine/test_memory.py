from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_what_the_heap_keeps_goes_back_after_a_batch_when_it_is_time(measured: Callable[..., dict[str, Any]]) -> None:
    result = measured(
        """
import numpy as np
from farthing.engine.memory import TRIM_INTERVAL_S, Trimmer

now_s = 0.0
trimmer = Trimmer(lambda: now_s)
buffers = [np.ones(8 * 1024, dtype=np.float32) for _ in range(3200)]  # 32 KiB each, in the heap
last = buffers.pop()
buffers.clear()
held = [resident_bytes()]
trimmer.after_batch()
held.append(resident_bytes())
now_s = TRIM_INTERVAL_S
trimmer.after_batch()
held.append(resident_bytes())
print(json.dumps({"early": held[0] - held[1], "in time": held[1] - held[2]}))
"""
    )
    assert result["early"] < 5 * 2**20
    assert result["in time"] > 60 * 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_what_the_heap_keeps_goes_back_when_the_process_has_grown(measured: Callable[..., dict[str, Any]]) -> None:
    result = measured(
        """
import numpy as np
from farthing.engine.memory import TRIM_GROWTH_BYTES, Trimmer

trimmer, held = Trimmer(), []
def grow(num_bytes):
    buffers = [np.ones(8 * 1024, dtype=np.float32) for _ in range(num_bytes // 2**15)]  # 32 KiB each, in the heap
    last = buffers.pop()
    buffers.clear()
    held.append(resident_bytes())
    trimmer.watch(held[-1])
    held.append(resident_bytes())
    return last
trimmer.watch(resident_bytes())
kept = [grow(TRIM_GROWTH_BYTES // 2)]
kept.append(grow(2 * TRIM_GROWTH_BYTES))
print(json.dumps({"a little": held[0] - held[1], "much": held[2] - held[3]}))
"""
    )
    assert result["a little"] < 5 * 2**20
    assert result["much"] > 60 * 2**20
