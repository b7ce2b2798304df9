"""A store that answers what makes no sense: no request fails by it, nothing of it is answered, and it is left alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from farthing.core.settings import CacheSettings
from farthing.serving.cache.entry import MOST_TOKENS, are_sound, entry_type, read_entries, seal, write_entries
from farthing.serving.cache.remote import Breaker, RemoteLevel
from farthing.serving.cache.vectors import open_store

ROWS = np.random.default_rng(3).standard_normal((5, 64)).astype(np.float32)
ENTRIES = write_entries(ROWS, [3] * len(ROWS), ())
SIZE = len(ENTRIES[0])
KEYS = [number.to_bytes(16, "little") for number in range(len(ROWS))]
MAX_FAILURES = 3


@asynccontextmanager
async def answering(scheme: str, answer: Callable[[bytes], bytes]) -> AsyncIterator[RemoteLevel]:
    """A level whose store answers each piece that it receives with what `answer` makes of it."""

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self._transport = transport
            transports.append(transport)

        def data_received(self, data: bytes) -> None:
            self._transport.write(answer(data))

    transports: list[asyncio.Transport] = []
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    level = RemoteLevel(
        open_store(CacheSettings(cache=f"{scheme}://127.0.0.1:{port}")), 0.5, Breaker(max_failures=MAX_FAILURES)
    )
    try:
        yield level
    finally:
        await level.close()
        server.close()
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)  # until they are closed


def redis_with(reply: bytes) -> Callable[[bytes], bytes]:
    """A Redis that takes a connection as it should, and answers each question with `reply`."""

    def answer(data: bytes) -> bytes:
        commands = re.findall(rb"\*\d+\r\n\$\d+\r\n([A-Z]+)\r\n", data)
        return b"".join(reply if command in (b"MGET", b"SET") else b"+OK\r\n" for command in commands)

    return answer


REDIS_REPLIES = {
    "one value for five keys": b"*1\r\n$-1\r\n",
    "six values": b"*6\r\n" + b"$-1\r\n" * 6,
    "no values": b"*0\r\n",
    "no list": b"*-1\r\n",
    "a word": b"+OK\r\n",
    "five bytes": b"$5\r\nabcde\r\n",
    "a number": b":5\r\n",
    "an error": b"-ERR no\r\n",
    "not Redis": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a list of lists": b"*1\r\n*5\r\n" + b"$-1\r\n" * 5,
}


@pytest.mark.parametrize("reply", REDIS_REPLIES.values(), ids=REDIS_REPLIES)
def test_a_redis_that_answers_nonsense_counts_as_one_that_fails(reply: bytes) -> None:
    async def scenario() -> None:
        async with answering("redis", redis_with(reply)) as level:
            for _ in range(2 * MAX_FAILURES):
                assert await level.get(KEYS, SIZE) == {}
            stats = level.stats()
            assert (stats.errors_total, stats.is_asked) == (MAX_FAILURES, False)

    asyncio.run(scenario())


def test_values_of_other_types_are_not_found() -> None:
    reply = b"*5\r\n$-1\r\n:7\r\n$3\r\nabc\r\n*1\r\n:1\r\n$0\r\n\r\n"

    async def scenario() -> None:
        async with answering("redis", redis_with(reply)) as level:
            assert await level.get(KEYS, SIZE) == {}
            assert level.stats().is_asked

    asyncio.run(scenario())


@pytest.mark.parametrize("reply", [b"$2\r\nno\r\n", b":0\r\n", b"$-1\r\n", b"*1\r\n$-1\r\n"])
def test_a_write_that_is_not_confirmed_counts_as_failed(reply: bytes) -> None:
    async def scenario() -> None:
        async with answering("redis", redis_with(reply)) as level:
            for _ in range(MAX_FAILURES):
                level.put(dict(zip(KEYS, ENTRIES, strict=True)))
                assert level._writer is not None
                await level._writer
            stats = level.stats()
            assert (stats.dropped_writes_total, stats.is_asked) == (MAX_FAILURES * len(KEYS), False)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "reply", [b"*1\r\n$-1\r\n", b"END\r\nEND\r\n", b"VALUE x 0 3\r\nabc\r\nEND\r\n", b"\x00" * 100]
)
def test_a_memcached_that_answers_nonsense_gives_nothing(reply: bytes) -> None:
    async def scenario() -> None:
        async with answering("memcached", lambda _: reply) as level:
            for _ in range(3):
                assert await level.get(KEYS, SIZE) == {}
            level.put(dict(zip(KEYS, ENTRIES, strict=True)))
            assert await level.get(KEYS, SIZE) == {}

    asyncio.run(scenario())


class Holding:
    """A store that holds values of any kind."""

    name = "holding"

    def __init__(self, values: Sequence[object]) -> None:
        self._values = values

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:  # noqa: ARG002
        return self._values  # type: ignore[return-value]

    async def set(self, values: Mapping[bytes, bytes]) -> None: ...

    async def close(self) -> None: ...


@pytest.mark.parametrize("values", [[None] * 4, ["text"] * 5, [1] * 5, 5, None, [None, None, b"x", 1.5, None]])
def test_whatever_a_client_returns_is_looked_at(values: Sequence[object]) -> None:
    async def scenario() -> None:
        level = RemoteLevel(Holding(values), 1, Breaker(max_failures=1))
        assert await level.get(KEYS, SIZE) == {}
        stats = level.stats()
        assert (stats.errors_total, stats.is_asked) == (1, False)

    asyncio.run(scenario())


def changed(**fields: object) -> bytes:
    """An entry with other contents, as somebody writes it who knows the format."""
    table = np.frombuffer(bytearray(ENTRIES[0]), dtype=entry_type(64)).copy()
    for name, value in fields.items():
        table[name] = value
    return table.tobytes()


UNSOUND = {
    "NaN": changed(vector=np.nan),
    "one NaN": changed(vector=[np.nan, *np.zeros(62), 1.0]),
    "Inf": changed(vector=[np.inf, *np.zeros(63)]),
    "a long vector": changed(vector=[65504.0] * 64),
    "a short vector": changed(vector=[0.5, *np.zeros(63)]),
    "zeros with a length": changed(vector=np.zeros(64)),
    "a length of NaN": changed(length=np.nan),
    "an infinite length": changed(length=np.inf),
    "a negative length": changed(length=-1.0),
    "4 billion tokens": changed(num_tokens=2**32 - 1),
    "more tokens than the context": changed(num_tokens=513),
    "unknown flags": changed(flags=8),
}


@pytest.mark.parametrize("entry", UNSOUND.values(), ids=UNSOUND)
def test_an_entry_that_no_model_can_have_made_was_not_found(entry: bytes) -> None:
    async def scenario() -> None:
        values = [seal(KEYS[0], entry), *(seal(key, value) for key, value in zip(KEYS[1:], ENTRIES[1:], strict=True))]
        level = RemoteLevel(Holding(values), 1)
        found = await level.get(KEYS, SIZE, 512)
        assert found == dict(zip(KEYS[1:], ENTRIES[1:], strict=True))
        assert level.stats().refused_total == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("dimensions", [1, 2, 64, 1024, 4096])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_whatever_is_written_is_sound(dimensions: int, scale: float) -> None:
    rows = (np.random.default_rng(dimensions).standard_normal((20, dimensions)) * scale).astype(np.float32)
    rows[0] = 0
    rows[1, 1:] = 0
    entries = write_entries(rows, [512] * 20, {3, 4}, {4, 5})
    assert are_sound(entries, len(entries[0]), 512) == [True] * 20
    assert are_sound([], len(entries[0])) == []


def test_a_number_of_tokens_that_no_text_has_is_written_as_the_most_that_one_may_have() -> None:
    entries = write_entries(ROWS[:2], [10**18, 3], ())
    assert read_entries(entries, 64, 64, normalize=True).num_tokens == [MOST_TOKENS, 3]
