"""Requests that were good once, ten thousand of them with --slow: each is answered, none by a failure, and the server
is as it was."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import mutations
import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider

from farthing.core.settings import AccessSettings, ConnectionSettings
from farthing.server.models.slot import ModelEntry
from farthing.server.observe.tracing import OtelTracing
from farthing.serving.embedder import Embedder
from farthing.serving.reranker import Reranker

NUM_BODIES, NUM_HEADS, NUM_CHUNKED = 10_000, 1_500, 500
DEFAULT_SHARE = 0.1
NUM_CONNECTIONS = 8
KEY = "sk-of-the-mutations"
SEED = 20_260_101


@pytest.fixture(scope="module")
def running(launch_load: Callable[..., Any], tiny_qwen3: Path, tiny_reranker: Path) -> Iterator[Any]:
    """An embedding model and a reranker, behind a believed proxy, with traces that go nowhere."""
    judge = ModelEntry("judge", lambda: Reranker(str(tiny_reranker)), task="rerank")
    connection = ConnectionSettings(header_timeout_s=2, body_timeout_s=2, trusted_proxies="*")
    tracing = OtelTracing(TracerProvider(shutdown_on_exit=False))
    load = lambda: Embedder(str(tiny_qwen3))  # noqa: E731
    with launch_load(load, name="tiny", connection=connection, others=[judge], tracing=tracing) as server:
        yield server
    tracing.close()


@pytest.fixture(scope="module")
def guarded(launch_load: Callable[..., Any], tiny_qwen3: Path) -> Iterator[Any]:
    connection = ConnectionSettings(header_timeout_s=2, body_timeout_s=2)
    access = AccessSettings(api_key=KEY)
    with launch_load(lambda: Embedder(str(tiny_qwen3)), connection=connection, access=access) as server:
        yield server


@pytest.fixture(scope="module")
def operations(running: Any) -> dict[str, dict[str, Any]]:
    """What the document says of every POST route, by path."""
    paths = httpx.get(f"{running.url}/openapi.json").json()["paths"]
    return {path: methods["post"] for path, methods in sorted(paths.items()) if "post" in methods}


def vector(running: Any) -> np.ndarray:
    answer = httpx.post(f"{running.url}/v1/embeddings", json={"input": "a wren"})
    return np.asarray(answer.json()["data"][0]["embedding"])


@pytest.fixture(autouse=True)
def _server_is_as_it_was(running: Any, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    before = vector(running)
    yield
    assert running.service.health().status == "ready"
    np.testing.assert_allclose(vector(running), before, atol=1e-6)
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def good_body(operations: dict[str, Any], path: str, chance: random.Random) -> dict[str, Any]:
    schema = operations[path]["requestBody"]["content"]["application/json"]["schema"]
    body: dict[str, Any] = chance.choice(schema["examples"])
    return body | ({"model": "judge"} if chance.random() < 0.2 else {})


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


async def read_answer(reader: asyncio.StreamReader, raw: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of the final answer to `raw`."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status >= 200:
            break
    if raw.startswith(b"HEAD "):
        return status, head, b""
    lines = head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in lines:
        return status, head, await read_chunks(reader)
    length = next(line for line in lines if line.startswith(b"content-length:"))
    return status, head, await reader.readexactly(int(length.partition(b":")[2]))


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        assert await reader.readline() == b"\r\n"
    assert await reader.readline() == b"\r\n"
    return body


async def exchange(address: tuple[str, int], raw: bytes) -> tuple[int, bytes, bytes]:
    """The first answer to `raw` on a connection of its own. Fails when none comes."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(raw)
        return await asyncio.wait_for(read_answer(reader, raw), 20)
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
        raise AssertionError(f"{type(error).__name__} instead of an answer to {raw[:2000]!r}") from error
    finally:
        writer.transport.abort()


@pytest.fixture
def share(in_full: bool) -> float:
    """Of the requests, how many are sent."""
    return 1.0 if in_full else DEFAULT_SHARE


async def in_parallel(num: float, one: Callable[[int], Awaitable[None]]) -> None:
    """`one(0)` to `one(num - 1)`, `NUM_CONNECTIONS` of them at a time; the first failure ends all."""
    left = iter(range(int(num)))

    async def work() -> None:
        for index in left:
            await one(index)

    await asyncio.gather(*(work() for _ in range(NUM_CONNECTIONS)))


def test_every_changed_body_is_answered_as_the_document_says(
    running: Any, operations: dict[str, Any], share: float
) -> None:
    chance = random.Random(SEED)
    paths = list(operations)

    async def send(index: int) -> None:
        path = paths[index % len(paths)]
        body = mutations.mutated(good_body(operations, path, chance), chance)
        status, _, content = await exchange(running.address, mutations.request(path, body))
        told = f"{path} {body[:300]!r}: {status} {content[:300]!r}"
        assert status < 500, told
        assert str(status) in operations[path]["responses"], told
        json.loads(content, parse_constant=refuse_constant)

    asyncio.run(in_parallel(share * NUM_BODIES, send))


def test_every_garbled_chunk_is_answered(running: Any, operations: dict[str, Any], share: float) -> None:
    chance = random.Random(SEED)

    async def send(_: int) -> None:
        path = chance.choice(list(operations))
        body = json.dumps(good_body(operations, path, chance)).encode()
        raw = mutations.chunked(path, body, chance)
        status, _, content = await exchange(running.address, raw)
        assert status < 500, (raw, content)
        json.loads(content, parse_constant=refuse_constant)

    asyncio.run(in_parallel(share * NUM_CHUNKED, send))


@pytest.mark.parametrize("server", ["running", "guarded"])
def test_every_changed_head_is_answered(server: str, operations: dict[str, Any], share: float, request: Any) -> None:
    chance = random.Random(SEED)
    address = request.getfixturevalue(server).address

    async def send(_: int) -> None:
        path = chance.choice(list(operations))
        raw = mutations.bad_head(path, json.dumps(good_body(operations, path, chance)).encode(), chance)
        status, _, content = await exchange(address, raw)
        # A time limit of the request's own, which may be a millisecond.
        assert status < 500 or (status == 504 and b"x-request-timeout-ms" in raw), (raw[:1000], status, content[:500])
        assert not (server == "guarded" and status == 200 and raw.startswith(b"POST")), raw

    asyncio.run(in_parallel(share * NUM_HEADS, send))
