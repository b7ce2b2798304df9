"""Stops a request's work when the client hangs up or its time is over. Neither uvicorn nor Starlette does this by
itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from farthing.serving.request import Urgency

T = TypeVar("T")


async def unless_hung_up(request: Request, work: Coroutine[Any, Any, T], urgency: Urgency) -> T:
    """Return the result of `work`. The request's body must have been read.

    Raises what `work` raises, `ClientDisconnect` when the client hung up first, and `DeadlineError` when the time limit
    passed first. In both of these cases `work` has been cancelled.
    """
    task = asyncio.ensure_future(work)
    hang_up = asyncio.ensure_future(wait_for_hang_up(request))
    try:
        while True:
            await asyncio.wait((task, hang_up), timeout=urgency.left_s(), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if hang_up.done():
                raise ClientDisconnect
            # uvloop rounds its timers to whole milliseconds, so that a timer may fire early.
            if urgency.left_s() == 0:
                raise urgency.error()
    finally:
        hang_up.cancel()
        task.cancel()
        await asyncio.wait((task, hang_up))


async def wait_for_hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
