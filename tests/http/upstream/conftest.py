"""Servers to put behind ours: a real Farthing, with doors that misbehave in front of it."""

from __future__ import annotations

import asyncio
import gzip
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from processes import Process
from starlette.types import ASGIApp, Receive, Scope, Send

from farthing.core.resolve import Resolved
from farthing.core.settings import ConnectionSettings, ServerSettings, ServingSettings, UpstreamSettings
from farthing.server.app import create_app
from farthing.server.http.listening import listen
from farthing.server.models.service import Service
from farthing.server.run import make_server
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.upstream.embedder import UpstreamEmbedder

PATHS = ("/v1/embeddings", "/v1/rerank", "/rerank")


class Door:
    """An ASGI application that answers as another one does, or as `behaviour` says.

    Attributes:
        next: behaviours of the next requests for work; then `behaviour` counts.
        asked: inputs of each request for work.
        bad_text: a text whose vector is not finite.
        words: what an error says.
        space: which space it says that its vectors are of; empty where it says nothing, None for the true one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.behaviour = "well"
        self.next: deque[str] = deque()
        self.asked: list[dict[str, Any]] = []
        self.knows_base64 = True
        self.bad_text = ""
        self.words = "so it is"
        self.space: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        raw = b""
        more = True
        while more:
            message = await receive()
            raw, more = raw + message.get("body", b""), message.get("more_body", False)
        body = orjson.loads(raw)
        self.asked.append(body)
        behaviour = self.next.popleft() if self.next else self.behaviour
        if self.bad_text and self.bad_text in body["input"]:
            behaviour = "not finite"
        if "encoding_format" in body and not self.knows_base64:
            behaviour = "400"
        if behaviour == "well":
            sent = deque([{"type": "http.request", "body": raw, "more_body": False}])

            async def again() -> Any:
                return sent.popleft() if sent else await receive()

            await self._app(scope, again, send if self.space is None else self._telling(send))
        elif behaviour == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
        elif behaviour == "break off":  # what uvicorn makes of it is a closed connection
            await respond(send, 200, b'{"data": [', length=1000)
        elif behaviour.isdecimal():
            error = orjson.dumps({"error": {"message": self.words}})
            await respond(send, int(behaviour), error, {"retry-after": "0.2"})
        elif behaviour == "too long, packed":
            await respond(
                send, 200, gzip.compress(ANSWERS["too long"](len(body["input"]))), {"content-encoding": "gzip"}
            )
        elif behaviour == "counting characters":
            usage = {"prompt_tokens": sum(map(len, body["input"]))}
            await respond(send, 200, vectors([[0.5] * 384] * len(body["input"]), usage=usage))
        else:
            await respond(send, 200, ANSWERS[behaviour](len(body.get("input", ()))))

    def _telling(self, send: Send) -> Send:
        told = [(b"x-farthing-space", self.space.encode())] if self.space else []

        async def send_other(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [item for item in message["headers"] if item[0] != b"x-farthing-space"]
                message = {**message, "headers": headers + told}
            await send(message)

        return send_other


async def respond(send: Send, status: int, body: bytes, headers: dict[str, str] | None = None, length: int = 0) -> None:
    fields = {"content-length": str(length or len(body)), **(headers or {})}
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [(name.encode(), value.encode()) for name, value in fields.items()]})
    await send({"type": "http.response.body", "body": body, "more_body": bool(length)})


def vectors(rows: Any, **others: Any) -> bytes:
    return orjson.dumps({"data": [{"index": index, "embedding": row} for index, row in enumerate(rows)], **others})


ANSWERS: dict[str, Callable[[int], bytes]] = {
    "garbage": lambda _: b"<html>",
    "null": lambda _: b"null",
    "too few": lambda n: vectors([[0.5] * 384] * (n - 1)),
    "doubled": lambda n: orjson.dumps({"data": [{"index": 0, "embedding": [0.5] * 384}] * n}),
    "ragged": lambda n: vectors([[0.5] * (384 - index) for index in range(n)]),
    "words": lambda n: vectors([["a"] * 384] * n),
    "not finite": lambda n: vectors([[1e300] * 384] * n),
    "narrow": lambda n: vectors([[0.5] * 100] * n),
    "zeros": lambda n: vectors([[0.0] * 384] * n),
    "an index of 1e999": lambda n: b'{"data": [%s]}' % b",".join([b'{"index": 1e999, "embedding": [1.0]}'] * n),
    "too long": lambda n: vectors([[0.5] * 384] * n) + b" " * (2 * 2**20),
    "a huge usage": lambda n: vectors([[0.5] * 384] * n, usage={"prompt_tokens": 10**18}),
    "other weights": lambda n: vectors(np.random.default_rng(7).standard_normal((n, 384)).tolist()),
}


@dataclass(frozen=True)
class Front:
    """A door that listens; `url` is up to and with /v1."""

    url: str
    door: Door


OpenFront = Callable[[Service], AbstractContextManager[Front]]


@contextmanager
def listening(service: Service) -> Iterator[Front]:
    listener = listen("127.0.0.1", 0)
    door = Door(create_app(service, Resolved.of()))
    web = make_server(door, ServerSettings(), ConnectionSettings())  # type: ignore[arg-type]
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Front(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", door)
    finally:
        web.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def open_front() -> OpenFront:
    """A new door to a service."""
    return listening


@pytest.fixture
def fronts(server: Any) -> Iterator[tuple[Front, Front]]:
    """Two doors to MiniLM, which misbehave by themselves."""
    with listening(server.service) as first, listening(server.service) as second:
        yield first, second


class Asked:
    """An upstream embedder, asked from a loop of the test's own."""

    def __init__(self, embedder: UpstreamEmbedder) -> None:
        self.embedder = embedder

    def __call__(self, texts: Any, **fields: Any) -> EmbedResult:
        return asyncio.run(self.embedder.embed_async(EmbedRequest(texts, **fields)))

    def used(self) -> list[bool]:
        return [state.is_up for state in self.embedder.upstreams()]


@contextmanager
def asking(*urls: str, serving: ServingSettings | None = None, spec: Any = None, **settings: Any) -> Iterator[Asked]:
    chosen = UpstreamSettings(**{"upstream_start_s": 20.0, "upstream_timeout_s": 20.0, **settings})
    with UpstreamEmbedder("minilm", urls, chosen, serving or ServingSettings(), spec=spec) as embedder:
        yield Asked(embedder)


@pytest.fixture(scope="session")
def ask() -> Callable[..., AbstractContextManager[Asked]]:
    """Put our server's part before the upstreams at these URLs; the result embeds texts."""
    return asking


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts processes, and kills what is left of them."""
    with ExitStack() as ends:

        def start(*args: str, **env: str) -> Process:
            process = Process(tmp_path / f"log-{time.monotonic_ns()}", *args, **env)
            ends.callback(process.popen.wait)
            ends.callback(process.popen.kill)
            ends.callback(process.popen.send_signal, signal.SIGCONT)
            return process

        yield start
