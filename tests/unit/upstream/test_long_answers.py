"""Answers that are longer than an answer can be, are packed, or break off: what is read of them."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import orjson
import pytest

from farthing.upstream.answer import CEILING_BYTES, FLOOR_BYTES, AttemptFailedError, scores_limit, vectors_limit
from farthing.upstream.client import UpstreamClient, http_client
from farthing.upstream.reranker import RerankRoute
from farthing.upstream.vectors import UpstreamVectors, ask_vectors

CHUNK = b"x" * 65536
GOOD = orjson.dumps({"data": [{"index": 0, "embedding": [0.5] * 384}], "usage": {"prompt_tokens": 3}})


def gzipped(content: bytes) -> bytes:
    """Without the time, which would make another name of a test in each process."""
    return gzip.compress(content, mtime=0)


class Sender:
    """A server that answers every request with a head and then pieces, for as long as somebody reads them."""

    def __init__(self, pieces: Callable[[], Iterator[bytes]], *, head: str = "", status: str = "200 OK") -> None:
        self._pieces, self._head, self._status = pieces, head, status
        self.num_sent = 0
        self.asked: list[bytes] = []

    async def run(self, ask: Callable[[UpstreamClient], Awaitable[Any]]) -> Any:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with server, http_client(None) as http:
            return await ask(UpstreamClient(url, http, 30.0))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.read(65536))
        try:
            writer.write(f"HTTP/1.1 {self._status}\r\nconnection: close\r\n{self._head}\r\n".encode())
            for piece in self._pieces():
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)  # to drain does not let others run
                self.num_sent += len(piece)
        except ConnectionError:
            pass
        finally:
            writer.close()


def endless() -> Iterator[bytes]:
    while True:
        yield CHUNK


def endless_packed() -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    while True:
        yield packer.compress(b"\0" * 2**22) + packer.flush(zlib.Z_SYNC_FLUSH)


def once(content: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([content])


async def ask(client: UpstreamClient) -> UpstreamVectors:
    return await ask_vectors(client, "m", ["a text"], dimensions=384)


async def rerank(client: UpstreamClient) -> np.ndarray:
    return await RerankRoute(client).find("m", "query", ["a", "b"])


def refusal(sender: Sender, asking: Callable[[UpstreamClient], Awaitable[Any]] = ask) -> str:
    with pytest.raises(AttemptFailedError) as caught:
        asyncio.run(sender.run(asking))
    return caught.value.reason


@pytest.mark.parametrize("asking", [ask, UpstreamClient.check_alive])
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "500 Internal Server Error"])
def test_an_endless_answer_is_left_when_it_is_too_long(status: str, asking: Any) -> None:
    sender = Sender(endless, status=status)
    assert refusal(sender, asking) == f"answered more than the {FLOOR_BYTES:,} bytes that an answer can have"
    assert sender.num_sent < 16 * FLOOR_BYTES  # what lies in the buffers of both sides


def test_scores_have_a_limit_too() -> None:
    assert "answered more than" in refusal(Sender(endless), rerank)


def test_so_has_the_list_of_models() -> None:
    assert asyncio.run(Sender(endless).run(lambda client: client.max_tokens("m"))) is None


def test_a_packed_answer_counts_unpacked() -> None:
    sender = Sender(endless_packed, head="content-encoding: gzip\r\n")
    assert refusal(sender) == f"answered more than the {FLOOR_BYTES:,} bytes that an answer can have"
    assert sender.num_sent < FLOOR_BYTES // 10


def test_what_follows_a_packed_answer_counts() -> None:
    sender = Sender(lambda: iter([gzipped(GOOD), *[CHUNK] * 100]), head="content-encoding: gzip\r\n")
    assert "answered more than" in refusal(sender)


@pytest.mark.parametrize("head", ["", "content-encoding: identity\r\n"])
def test_an_answer_as_it_is(head: str) -> None:
    sender = Sender(once(GOOD), head=head)
    found = asyncio.run(sender.run(ask))
    assert (found.rows.shape, found.num_tokens) == ((1, 384), 3)
    assert b"accept-encoding: gzip\r\n" in sender.asked[0].lower()


@pytest.mark.parametrize("name", ["gzip", "x-gzip", " GZIP "])
def test_a_packed_answer_is_unpacked(name: str) -> None:
    found = asyncio.run(Sender(once(gzipped(GOOD)), head=f"content-encoding: {name}\r\n").run(ask))
    assert (found.rows.shape, found.num_tokens) == ((1, 384), 3)


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (gzipped(GOOD)[:-9], "gzip", "broke off"),
        (GOOD, "gzip", "answered what cannot be unpacked"),
        (gzipped(gzipped(GOOD)), "gzip, gzip", "answered in a compression that was not asked for"),
        (GOOD, "br", "answered in a compression that was not asked for"),
        (zlib.compress(GOOD), "deflate", "answered in a compression that was not asked for"),
        (b"", "gzip", "answered something that is no list of vectors"),
    ],
    ids=["cut off", "not packed", "packed twice", "Brotli", "deflate", "empty"],
)
def test_what_cannot_be_unpacked_is_a_failure(content: bytes, name: str, reason: str) -> None:
    assert refusal(Sender(once(content), head=f"content-encoding: {name}\r\n")) == reason


def test_the_limit_grows_with_what_was_asked() -> None:
    row = [-1.2345678901234567e-300] * 1024
    indented = orjson.dumps({"data": [{"embedding": row}] * 64}, option=orjson.OPT_INDENT_2)
    assert len(indented) < vectors_limit(64, 1024) < 2 * len(indented)
    assert vectors_limit(1, 3) == FLOOR_BYTES
    assert vectors_limit(2, None) < 16 * FLOOR_BYTES
    assert vectors_limit(10**6, 10**6) == CEILING_BYTES
    assert scores_limit(["\0" * 10**6] * 3) > len(orjson.dumps(["\0" * 10**6] * 3))
    assert scores_limit([]) == FLOOR_BYTES


def test_a_long_answer_within_the_limit_is_read() -> None:
    rows = np.random.default_rng(1).standard_normal((64, 1024))
    content = orjson.dumps({"data": [{"embedding": row.tolist()} for row in rows]})
    assert len(content) > FLOOR_BYTES

    async def asking(client: UpstreamClient) -> UpstreamVectors:
        return await ask_vectors(client, "m", ["a"] * 64, dimensions=1024)

    found = asyncio.run(Sender(once(content)).run(asking))
    np.testing.assert_allclose(found.rows, rows, rtol=1e-6)


def test_a_connection_that_ends_early_broke_off() -> None:
    assert refusal(Sender(once(GOOD[:20]), head="content-length: 5000\r\n")) == "broke off"
