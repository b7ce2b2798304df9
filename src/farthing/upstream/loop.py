"""An event loop in a thread of its own.

Backends are made in a thread that loads them, asked from the server's loop, and closed from a third thread. What they
share (connections, which upstream is up and has what to do) lives on this loop alone and so needs no locks; and reading
large answers does not hold up the server's loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `work` on the loop. Cancelling the future cancels the work."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns. It blocks, so it must not be called on the loop itself."""
        return self.submit(work).result()

    def close(self) -> None:
        """Cancel what still runs, and end the loop. Closing twice is fine."""
        if self._loop.is_closed():
            return
        self.run(cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
