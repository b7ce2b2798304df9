"""Threads for work that blocks, and a bounded line of requests before them.

In: the steps of a request, as a coroutine whose blocking calls `thread` runs. Out: its result. A request keeps its
place in the line until its thread has really ended, whether or not the client is still there: a client that hangs up
again and again cannot start any number of threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from farthing.core.errors import ClosedError, QueueFullError

if TYPE_CHECKING:
    from farthing.server.indexes.models import Work

T = TypeVar("T")


class Workers:
    """A pool of threads with its line of requests.

    Args:
        name: what the requests are, for messages.
        max_requests: how many requests may be at work or wait.
    """

    def __init__(self, name: str, num_threads: int, max_requests: int) -> None:
        self._name = name
        self._max_requests = max_requests
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix=f"index-{name}")
        self._running: dict[asyncio.Task[Any], Work] = {}
        self._is_closed = False

    async def run(self, work: Work, steps: Coroutine[Any, Any, T]) -> T:
        """Return the result of `steps`. If this is cancelled, it stops `work`, which leaves the line when it has ended.

        Raises what `steps` raises, and `QueueFullError`.
        """
        if len(self._running) >= self._max_requests:
            steps.close()
            raise QueueFullError(
                f"{len(self._running)} {self._name} of indexes are at work or wait; at most {self._max_requests} may. "
                "Try again in a moment."
            )
        task = asyncio.ensure_future(steps)
        self._running[task] = work
        task.add_done_callback(self._running.pop)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            work.stop()
            task.cancel()
            raise

    async def thread(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, run in a thread. If this is cancelled, it waits until the thread has ended.

        Raises what `call` raises, and `ClosedError`.
        """
        if self._is_closed:
            raise ClosedError("The server is shutting down.")
        future = self._executor.submit(call)
        result = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            if not future.cancel():
                await asyncio.wait([result])
                result.exception()  # marks the error of work that nobody waits for as seen
            raise

    def close(self) -> None:
        """Stop all work. It ends soon after; this does not wait for it."""
        self._is_closed = True
        for work in self._running.values():
            work.stop()
        self._executor.shutdown(wait=False, cancel_futures=True)
