"""Work that stops when the client hangs up. Neither the server nor Starlette does this by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def unless_hung_up(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. The request's body must have been read.

    Raises what `work` raises, and `ClientDisconnect` when the client hung up first; `work` was cancelled then.
    """
    task = asyncio.ensure_future(work)
    hang_up = asyncio.ensure_future(wait_for_hang_up(request))
    try:
        await asyncio.wait((task, hang_up), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        hang_up.cancel()
        task.cancel()
        await asyncio.wait((task, hang_up))


async def wait_for_hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
