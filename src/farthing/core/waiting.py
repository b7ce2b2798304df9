"""Waiting with a time limit on an event loop, without losing a cancellation.

`asyncio.wait_for` before Python 3.12 loses one that comes between the result and the turn in which the waiting task is
told of it (https://github.com/python/cpython/issues/86296): a task that was to end goes on, and whoever waits for its
end waits for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(timeout_s: float, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. It is cancelled when it takes longer, and when the caller is cancelled.

    Raises what `work` raises, and `asyncio.TimeoutError`.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task,), timeout=timeout_s)
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
        if task.done() and not task.cancelled():
            task.exception()  # it has been seen, though nobody may want it any more
