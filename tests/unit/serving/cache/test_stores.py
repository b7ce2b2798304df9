"""The shared level against real servers: what they hold, when they are away, hang, or hold something else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
from store_servers import StoreServer, memcached_server, redis_server

from farthing.core.settings import CacheSettings
from farthing.serving.cache.entry import write_entries
from farthing.serving.cache.remote import MOST_KEYS, PENDING_BYTES, Breaker, RemoteLevel
from farthing.serving.cache.store import name_of
from farthing.serving.cache.vectors import open_store

ROWS = np.random.default_rng(3).standard_normal((1500, 64)).astype(np.float32)
ENTRIES = {
    number.to_bytes(16, "little"): entry for number, entry in enumerate(write_entries(ROWS, [3] * len(ROWS), ()))
}
KEYS = list(ENTRIES)
SIZE = len(ENTRIES[KEYS[0]])
SOME = {key: ENTRIES[key] for key in KEYS[:5]}
TIMEOUT_S = 0.25  # of tests that are not about it


@pytest.fixture(scope="module", params=[redis_server, memcached_server])
def running(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with request.param() as server:
        yield server


@pytest.fixture
def server(running: StoreServer) -> StoreServer:
    """Empty."""
    running.kill()
    running.start()
    return running


@asynccontextmanager
async def opened(
    server: StoreServer, *, timeout_s: float = TIMEOUT_S, **settings: object
) -> AsyncIterator[RemoteLevel]:
    store = open_store(CacheSettings(cache=server.url, **settings))  # type: ignore[arg-type]
    level = RemoteLevel(store, timeout_s, Breaker(max_failures=3, pause_s=0.3))
    try:
        yield level
    finally:
        await level.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 10
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


async def written(level: RemoteLevel, entries: Mapping[bytes, bytes]) -> None:
    """Returns when the store has them."""
    level.put(entries)

    async def is_there() -> bool:
        return await level.get(list(entries), SIZE) == entries

    await until(is_there)


def test_what_one_process_writes_another_one_finds(server: StoreServer) -> None:
    async def scenario() -> None:
        async with opened(server) as one, opened(server) as other:
            assert await other.get(list(SOME), SIZE) == {}
            await written(one, SOME)
            assert await other.get(KEYS[:10], SIZE) == SOME
            stats = other.stats()
            assert (stats.hits_total, stats.misses_total, stats.errors_total) == (5, 10, 0)

    asyncio.run(scenario())


def test_closing_writes_what_waits(server: StoreServer) -> None:
    async def scenario() -> None:
        async with opened(server) as one:
            one.put(ENTRIES)
        async with opened(server) as other:
            assert len(await other.get(KEYS, SIZE)) == len(ENTRIES) > MOST_KEYS

    asyncio.run(scenario())


def test_what_is_not_ours_is_not_found(server: StoreServer) -> None:
    async def scenario() -> None:
        async with opened(server) as level:
            store = level._store
            sealed: dict[bytes, bytes] = {}

            class Keeping:
                name = "keeping"

                async def set(self, values: Mapping[bytes, bytes]) -> None:
                    sealed.update(values)

                async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
                    return [None] * len(keys)

                async def close(self) -> None: ...

            keeping = RemoteLevel(Keeping(), 1)
            keeping.put(SOME)
            await keeping.close()
            good, swapped, short, text, changed = KEYS[:5]
            flipped = sealed[changed][:-1] + bytes([sealed[changed][-1] ^ 1])
            await store.set(
                {
                    good: sealed[good],
                    swapped: sealed[good],
                    short: sealed[short][:-2],
                    text: b"x" * len(sealed[text]),
                    changed: flipped,
                }
            )
            assert await level.get(list(SOME), SIZE) == {good: SOME[good]}
            assert (level.stats().refused_total, level.stats().errors_total) == (4, 0)
            assert await level.get([good], SIZE + 2) == {}  # a model of another size

    asyncio.run(scenario())


def test_entries_go_after_their_time(server: StoreServer) -> None:
    async def scenario() -> None:
        async with opened(server, cache_ttl_s=1) as level:
            await written(level, SOME)

            async def is_gone() -> bool:
                return not await level.get(list(SOME), SIZE)

            await until(is_gone)

    asyncio.run(scenario())


def test_a_long_time_to_live_is_not_taken_for_a_date(server: StoreServer) -> None:
    async def scenario() -> None:
        async with opened(server, cache_ttl_s=100 * 24 * 3600) as level:
            await written(level, SOME)

    asyncio.run(scenario())


def test_a_store_that_is_killed_is_missed_and_found_again(server: StoreServer) -> None:
    async def scenario() -> None:
        async with opened(server) as level:
            await written(level, SOME)
            server.kill()
            for _ in range(20):
                assert await level.get(list(SOME), SIZE) == {}
                level.put(SOME)
            stats = level.stats()
            assert not stats.is_asked
            assert 3 <= stats.errors_total < 20  # left alone after three
            assert stats.dropped_writes_total > 0
            server.start()

            async def is_asked() -> bool:
                await level.get(list(SOME), SIZE)
                return level.stats().is_asked

            await until(is_asked)
            await written(level, SOME)

    asyncio.run(scenario())


def test_a_store_that_hangs_costs_a_request_its_timeout_and_later_ones_nothing(server: StoreServer) -> None:
    async def scenario() -> None:
        async with opened(server, timeout_s=0.02) as level:
            async with opened(server) as patient:
                await written(patient, SOME)
            await level.get(list(SOME), SIZE)  # connects, however long that takes
            await asyncio.sleep(0.2)
            server.hang()
            num_asked = 0
            while level.stats().is_asked:  # more often than three times where this machine is too busy to tell
                started_s = time.perf_counter()
                assert await level.get(KEYS, SIZE) == {}  # of which the first part has no answer
                assert 0.019 <= time.perf_counter() - started_s < 0.9
                num_asked += 1
                assert num_asked < 50
            started_s = time.perf_counter()
            for _ in range(10):
                assert await level.get(KEYS, SIZE) == {}
            assert time.perf_counter() - started_s < 0.1  # of which one may have tried again
            server.go_on()

            async def is_found() -> bool:
                return await level.get(list(SOME), SIZE) == SOME

            await until(is_found)
            assert level.stats().is_asked

    asyncio.run(scenario())


class Slow:
    """A store that has to connect first."""

    name = "slow"
    is_connected = False

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        if not self.is_connected:
            await asyncio.sleep(0.1)
            self.is_connected = True
        return [None] * len(keys)

    async def set(self, values: Mapping[bytes, bytes]) -> None:
        await self.get(list(values))

    async def close(self) -> None: ...


def test_the_first_question_may_take_longer_than_a_request_waits() -> None:
    async def scenario() -> None:
        level = RemoteLevel(Slow(), 0.01)
        await level.get(KEYS[:1], SIZE)
        assert level.stats().errors_total == 1
        await asyncio.sleep(0.15)
        await level.get(KEYS[:1], SIZE)
        assert level.stats().errors_total == 1
        await level.close()

    asyncio.run(scenario())


def test_a_caller_that_gives_up_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        level = RemoteLevel(Slow(), 1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(level.get(KEYS[:1], SIZE), 0.01)
        await level.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


class Stuck:
    """A store that takes everything and never ends."""

    name = "stuck"

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [None] * len(keys)

    async def set(self, values: Mapping[bytes, bytes]) -> None:
        await asyncio.sleep(3600 * len(values))

    async def close(self) -> None: ...


def test_what_waits_to_be_written_is_bounded() -> None:
    async def scenario() -> None:
        level = RemoteLevel(Stuck(), 0.1)
        entry = b"x" * 2**20
        for number in range(40):
            level.put({number.to_bytes(16, "little"): entry})
        assert level.stats().dropped_writes_total == 40 - PENDING_BYTES // len(entry)
        await level.close()

    asyncio.run(scenario())


def test_names_in_a_store_are_letters_and_say_whose_they_are() -> None:
    assert name_of(bytes(range(16))) == b"farthing:000102030405060708090a0b0c0d0e0f"
