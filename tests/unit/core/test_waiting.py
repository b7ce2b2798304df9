from __future__ import annotations

import asyncio

import pytest

from farthing.core.waiting import within


async def answer(seconds: float = 0.0) -> str:
    await asyncio.sleep(seconds)
    return "done"


def test_what_is_done_in_time_is_returned() -> None:
    assert asyncio.run(within(10, answer())) == "done"


def test_what_fails_raises_its_own_error() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(within(10, fail()))


@pytest.mark.parametrize("timeout_s", [0, 0.01])
def test_what_takes_longer_is_cancelled(timeout_s: float) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    async def ask() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await within(timeout_s, work())

    asyncio.run(ask())
    assert ended == ["cancelled"] or timeout_s == 0  # which may be over before it has begun


@pytest.mark.parametrize("turns", range(6))
def test_a_cancellation_in_any_turn_after_the_result_is_not_lost(turns: int) -> None:
    """`asyncio.wait_for` loses it in one of them, before Python 3.12."""

    async def ask() -> bool:
        event = asyncio.Event()

        async def go_on() -> None:
            while True:
                await within(60, event.wait())
                event.clear()

        task = asyncio.create_task(go_on())
        await asyncio.sleep(0.01)
        event.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,), timeout=5)
        return task.cancelled()

    assert asyncio.run(ask())


def test_cancelling_the_caller_cancels_the_work() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    async def ask() -> None:
        task = asyncio.create_task(within(60, work()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    assert ended == ["cancelled"]
