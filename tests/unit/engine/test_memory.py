from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_what_the_heap_keeps_goes_back_after_a_batch_when_it_is_time(measured: Callable[..., dict[str, Any]]) -> None:
    result = measured(
        """
import torch
from farthing.engine.memory import TRIM_INTERVAL_S, Trimmer

now_s = 0.0
trimmer = Trimmer(lambda: now_s)
buffers = [torch.ones(8 * 1024) for _ in range(3200)]  # 32 KiB each, in the heap
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
