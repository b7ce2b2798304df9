"""Stops a request's work when the client hangs up or its time is over. Neither uvicorn nor Starlette does this by
itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from farthing.server.http.connection import WIRE, Wire
from farthing.serving.request import Urgency

T = TypeVar("T")


async def unless_hung_up(request: Request, work: Coroutine[Any, Any, T], urgency: Urgency) -> T:
    """Return the result of `work`. The request's body must have been read.

    Raises what `work` raises, `ClientDisconnect` when the client hung up first, and `DeadlineError` when the time limit
    passed first. In both of these cases `work` has been cancelled.
    """
    ending = Ending(request.scope.get("state", {}).get(WIRE), urgency)
    try:
        return await work
    except asyncio.CancelledError:
        if not ending.has_come:
            raise
        ending.uncancel()
    finally:
        ending.close()
    raise ClientDisconnect if ending.is_hung_up else urgency.error()


class Ending:
    """What ends a request before its work does. It cancels the task that makes it, which costs less than a task for the
    work and another for the client.

    Attributes:
        has_come: whether the task was cancelled for it; `is_hung_up` says that the client hung up.
    """

    def __init__(self, wire: Wire | None, urgency: Urgency) -> None:
        task = asyncio.current_task()
        assert task is not None, "a request is answered by a task"
        self.has_come = self.is_hung_up = False
        self._task, self._wire, self._urgency = task, wire, urgency
        self._timer: asyncio.TimerHandle | None = None
        self._set_timer()
        if wire is not None:
            wire.when_gone(self._on_hang_up)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._wire is not None:
            self._wire.when_gone(None)

    def uncancel(self) -> None:
        """Take the cancellation back, since the task goes on."""
        if hasattr(self._task, "uncancel"):  # Python 3.11
            self._task.uncancel()

    def _set_timer(self) -> None:
        left_s = self._urgency.left_s()
        if left_s is not None:
            self._timer = self._task.get_loop().call_later(left_s, self._on_time)

    def _on_time(self) -> None:
        # uvloop rounds its timers to whole milliseconds, so that a timer may fire early.
        if self._urgency.left_s():
            self._set_timer()
        else:
            self._come()

    def _on_hang_up(self) -> None:
        self.is_hung_up = not self.has_come
        self._come()

    def _come(self) -> None:
        if not self.has_come:
            self.has_come = True
            self._task.cancel()
