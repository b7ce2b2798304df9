from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from farthing.core.errors import DeadlineError
from farthing.server.http.connection import WIRE, Wire
from farthing.server.http.disconnect import unless_hung_up
from farthing.serving.request import Urgency

uvloop = pytest.importorskip("uvloop")

Call = Callable[[], None]


class Client:
    """A client at the other end of a request, who hangs up when told to."""

    def __init__(self) -> None:
        self.hang_up: Call | None = None

        async def drain() -> None: ...

        wire = Wire(lambda: None, lambda: None, lambda: False, drain, self.listen)
        self.request = Request({"type": "http", "state": {WIRE: wire}})

    def listen(self, call: Call | None) -> None:
        self.hang_up = call


async def seconds_too_late(timeout_s: float) -> float:
    urgency = Urgency(timeout_s=timeout_s)
    with pytest.raises(DeadlineError):
        await unless_hung_up(Client().request, asyncio.sleep(10), urgency)
    return time.monotonic() - urgency.start_s - timeout_s


def run(work: Coroutine[Any, Any, Any]) -> Any:
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def test_time_is_over_by_the_clock_that_counts_though_timers_go_by_whole_milliseconds() -> None:
    assert min(run(seconds_too_late(0.005 + step / 10_000)) for step in range(20)) >= 0


def test_a_client_that_hangs_up_ends_the_work() -> None:
    ends = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ends.append("cleaned up")

    async def request() -> None:
        client = Client()
        asyncio.get_running_loop().call_later(0.01, lambda: client.hang_up and client.hang_up())
        with pytest.raises(ClientDisconnect):
            await unless_hung_up(client.request, work(), Urgency())
        assert client.hang_up is None
        await asyncio.sleep(0)  # the task goes on as if nothing had cancelled it
        task: Any = asyncio.current_task()
        assert getattr(task, "cancelling", int)() == 0

    run(request())
    assert ends == ["cleaned up"]


def test_what_comes_first_is_what_is_told() -> None:
    """Both ends come in the same turn of the loop."""

    async def request() -> None:
        client = Client()
        urgency = Urgency(timeout_s=0.01)

        async def work() -> None:
            await asyncio.sleep(0)
            time.sleep(0.02)  # noqa: ASYNC251 - the time is to be over when the loop has its turn
            assert client.hang_up is not None
            client.hang_up()
            await asyncio.sleep(10)

        with pytest.raises(ClientDisconnect):
            await unless_hung_up(client.request, work(), urgency)

    run(request())


def test_results_and_errors_of_the_work_pass() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("of the work")

    async def request() -> None:
        client = Client()
        assert await unless_hung_up(client.request, asyncio.sleep(0, "done"), Urgency(timeout_s=60)) == "done"
        with pytest.raises(ValueError, match="of the work"):
            await unless_hung_up(client.request, fail(), Urgency())
        assert client.hang_up is None

    run(request())


def test_a_cancellation_from_elsewhere_passes() -> None:
    async def request() -> None:
        client = Client()
        task = asyncio.ensure_future(unless_hung_up(client.request, asyncio.sleep(10), Urgency(timeout_s=60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(request())
