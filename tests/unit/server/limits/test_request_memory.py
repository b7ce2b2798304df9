"""Room for requests: who gets it, who waits, who gives way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from farthing.core.errors import QueueFullError, RequestTooLargeError
from farthing.server.limits import request_memory
from farthing.server.limits.request_memory import PATIENCE_S, SMALL_BYTES, RequestMemory


class Clock:
    """That a test winds on."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> RequestMemory:
    return RequestMemory(1000, clock)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


def test_what_is_claimed_counts_until_it_is_given_back(memory: RequestMemory) -> None:
    async def test() -> None:
        one, other = memory.claim(), memory.claim()
        await one.grow(300)
        await one.grow(100)
        await other.grow(500)
        assert memory.used_bytes == 900
        one.release()
        one.release()
        assert memory.used_bytes == 500

    run(test())


def test_a_request_that_could_never_have_room_is_told_so_at_once(memory: RequestMemory) -> None:
    async def test() -> None:
        claim = memory.claim()
        await claim.grow(900)
        with pytest.raises(RequestTooLargeError, match="--request-memory"):
            await claim.grow(101)

    run(test())


def test_a_request_waits_until_there_is_room_and_a_smaller_one_passes_it(memory: RequestMemory) -> None:
    async def test() -> None:
        first, small, large = memory.claim(), memory.claim(), memory.claim()
        await first.grow(900)
        waiting = asyncio.create_task(large.grow(200))
        await asyncio.sleep(0)
        await small.grow(100)
        assert not waiting.done()
        small.release()
        first.release()
        await waiting
        assert memory.used_bytes == 200

    run(test())


def test_no_more_waits_than_a_share_of_what_may_be_held(memory: RequestMemory) -> None:
    async def test() -> None:
        first, second, third = memory.claim(), memory.claim(), memory.claim()
        await first.grow(1000)
        waiting = asyncio.create_task(second.grow(200))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await third.grow(200)
        waiting.cancel()

    run(test())


def test_a_small_request_takes_the_place_of_a_large_one_that_waits(memory: RequestMemory) -> None:
    async def test() -> None:
        first, large, small = memory.claim(), memory.claim(), memory.claim()
        await first.grow(900)
        waiting = asyncio.create_task(large.grow(240))
        await asyncio.sleep(0)
        passing = asyncio.create_task(small.grow(150))
        with pytest.raises(QueueFullError):
            await waiting
        first.release()
        await passing

    run(test())


def test_a_large_body_is_large_from_its_first_byte_on(memory: RequestMemory) -> None:
    """Many that send a small part of a large body do not crowd a small request out."""

    async def test() -> None:
        first, small = memory.claim(), memory.claim()
        await first.grow(700)
        begun = [memory.claim() for _ in range(6)]
        for claim in begun:
            claim.expected_bytes = 900
            await claim.grow(50)
        waiting = [asyncio.create_task(claim.grow(50)) for claim in begun]
        await asyncio.sleep(0)
        passing = asyncio.create_task(small.grow(240))
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
        assert not passing.done()
        assert all(isinstance(task.exception(), QueueFullError) for task in done)
        first.release()
        await passing
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    run(test())


def test_of_those_that_wait_for_each_other_the_largest_goes_by_what_it_will_need(memory: RequestMemory) -> None:
    async def test() -> None:
        small, begun = memory.claim(), memory.claim()
        begun.expected_bytes = 900
        await small.grow(550)
        await begun.grow(400)
        first = asyncio.create_task(small.grow(100))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await begun.grow(100)
        begun.release()
        await first

    run(test())


def test_nobody_waits_for_ever(memory: RequestMemory, clock: Clock) -> None:
    async def test() -> None:
        first, second = memory.claim(), memory.claim()
        await first.grow(1000)
        waiting = asyncio.create_task(second.grow(200))
        await asyncio.sleep(0)
        clock.now_s += request_memory.WAIT_S
        with pytest.raises(QueueFullError, match="request_memory"):
            await waiting
        assert memory.used_bytes == 1000

    run(test())


def test_requests_that_all_wait_for_each_other_lose_the_largest(memory: RequestMemory) -> None:
    async def test() -> None:
        small, large = memory.claim(), memory.claim()
        await small.grow(400)
        await large.grow(550)
        first = asyncio.create_task(small.grow(100))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await large.grow(100)
        large.release()  # as its task does
        await first
        assert memory.used_bytes == 500

    run(test())


def test_the_largest_whose_client_has_kept_it_waiting_gives_way(memory: RequestMemory, clock: Clock) -> None:
    async def test() -> None:
        told: list[str] = []
        small, large, busy, late = (memory.claim() for _ in range(4))
        await small.grow(200)
        await large.grow(300)
        await busy.grow(400)
        with (
            small.waiting_for_client(lambda: told.append("small")),
            large.waiting_for_client(lambda: told.append("large")),
        ):
            clock.now_s += PATIENCE_S
            await late.grow(350)
            assert told == ["large"]
            assert memory.used_bytes == 200 + 400 + 350
            with pytest.raises(QueueFullError):  # it may not go on where it was
                await large.grow(1)

    run(test())


def test_nobody_gives_way_before_the_time_or_for_what_would_not_fit_all_the_same(
    memory: RequestMemory, clock: Clock
) -> None:
    async def test() -> None:
        told: list[str] = []
        slow, busy, late = memory.claim(), memory.claim(), memory.claim()
        await slow.grow(300)
        await busy.grow(600)
        with slow.waiting_for_client(lambda: told.append("slow")):
            assert not memory.take(late, 200)
            clock.now_s += PATIENCE_S
            assert not memory.take(late, 500)
            assert not told
            assert memory.take(late, 400)
            assert told == ["slow"]

    run(test())


def test_a_small_request_has_room_where_large_ones_hold_all_that_they_may() -> None:
    async def test() -> None:
        memory = RequestMemory(32 * SMALL_BYTES)
        large, small, other = memory.claim(), memory.claim(), memory.claim()
        await large.grow(30 * SMALL_BYTES)
        await small.grow(SMALL_BYTES)
        waiting = asyncio.create_task(small.grow(1))  # it is none of the small ones any more
        await asyncio.sleep(0)
        await other.grow(SMALL_BYTES)
        assert not waiting.done()
        large.release()
        await waiting
        with pytest.raises(RequestTooLargeError):
            await large.grow(30 * SMALL_BYTES + 1)

    run(test())
