from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from starlette.requests import Request

from farthing.core.errors import DeadlineError
from farthing.server.http.disconnect import unless_hung_up
from farthing.serving.request import Urgency

uvloop = pytest.importorskip("uvloop")


async def connected() -> Any:
    await asyncio.Event().wait()


async def seconds_too_late(timeout_s: float) -> float:
    urgency = Urgency(timeout_s=timeout_s)
    with pytest.raises(DeadlineError):
        await unless_hung_up(Request({"type": "http"}, connected), asyncio.sleep(10), urgency)
    return time.monotonic() - urgency.start_s - timeout_s


def test_time_is_over_by_the_clock_that_counts_though_timers_go_by_whole_milliseconds() -> None:
    loop = uvloop.new_event_loop()
    try:
        late = [loop.run_until_complete(seconds_too_late(0.005 + step / 10_000)) for step in range(20)]
    finally:
        loop.close()
    assert min(late) >= 0
