"""What requests in flight hold together: bodies that do not come to their ends, answers that nobody reads."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing.core.settings import ServerSettings

LIMIT_BYTES = 4 * 2**20
HEAD = "POST /v1/embeddings HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"


@pytest.fixture(scope="module")
def small(launch: Any, tiny_qwen3: Path) -> Iterator[Any]:
    """A server whose requests may hold 4 MiB together."""
    settings = ServerSettings(request_memory=f"{LIMIT_BYTES}B")
    with launch(tiny_qwen3, server=settings) as running:
        yield running


def metric(server: Any, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", httpx.get(f"{server.url}/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def embed(server: Any, texts: list[str], blanks: int = 0) -> httpx.Response:
    """`blanks` make the body larger and no more to compute."""
    body = json.dumps({"input": texts}) + " " * blanks
    return httpx.post(f"{server.url}/v1/embeddings", content=body, timeout=30)


def test_bodies_that_do_not_come_on_keep_nobody_out(small: Any) -> None:
    gave_way = metric(small, "farthing_requests_gave_way_total")
    with ExitStack() as stack:
        for _ in range(20):
            sender = stack.enter_context(socket.create_connection(small.address, timeout=30))
            sender.sendall(HEAD.format(1_000_000).encode() + b'{"input": "' + b"x" * 400_000)
        started = time.monotonic()
        for number in range(5):
            assert embed(small, [f"text {number}"], 250_000).status_code == 200
        assert time.monotonic() - started < 15
        assert metric(small, "farthing_request_memory_bytes") <= LIMIT_BYTES
        assert metric(small, "farthing_requests_gave_way_total") > gave_way
    small.wait_until(lambda: metric(small, "farthing_request_memory_bytes") == 0)


def test_a_request_that_gave_way_is_told_so(small: Any) -> None:
    with socket.create_connection(small.address, timeout=30) as slow:
        slow.sendall(HEAD.format(1_300_000).encode() + b'{"input": "' + b"x" * 1_200_000)
        small.wait_until(lambda: metric(small, "farthing_request_memory_bytes") > 3_000_000)
        assert embed(small, ["a"], 300_000).status_code == 200
        head, _, body = slow.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 1" in head
        assert "others needed its memory" in json.loads(body)["error"]["message"]


def test_answers_that_nobody_reads_keep_nobody_out(small: Any) -> None:
    dimensions = small.embedder.dimensions
    count = LIMIT_BYTES // (12 * dimensions) - 1000  # all but about a fifth of the memory
    texts = [f"t{number % 50}" for number in range(count)]
    body = json.dumps({"input": texts}).encode()
    with ExitStack() as stack:
        unread = stack.enter_context(socket.socket())
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.connect(small.address)
        unread.sendall(HEAD.format(len(body)).encode() + body)
        small.wait_until(lambda: metric(small, "farthing_request_memory_bytes") > LIMIT_BYTES // 2)
        answer = embed(small, texts[: count // 2])
        assert answer.status_code == 200
        assert len(answer.json()["data"]) == count // 2
        assert metric(small, "farthing_requests_gave_way_total") >= 1
    small.wait_until(lambda: metric(small, "farthing_request_memory_bytes") == 0)


def test_a_request_that_could_never_have_room_is_a_413(small: Any) -> None:
    answer = embed(small, ["a"], 1_400_000)
    assert answer.status_code == 413
    assert "--request-memory" in answer.json()["error"]["message"]
    many = embed(small, ["t"] * 8192)
    assert many.status_code == 413
    assert "fewer" in many.json()["error"]["message"]


def test_large_answers_come_whole_and_in_order(small: Any) -> None:
    texts = [f"text {number}" for number in range(2000)]
    whole = embed(small, texts)
    assert whole.headers["transfer-encoding"] == "chunked"
    data = whole.json()["data"]
    assert [item["index"] for item in data] == list(range(2000))
    part = embed(small, texts[700:710]).json()["data"]
    for item, other in zip(data[700:710], part, strict=True):
        assert item["embedding"] == pytest.approx(other["embedding"], abs=1e-5)
    kinds = ["float", "base64"]
    cohere = {
        "texts": texts,
        "model": "test-model",
        "input_type": "search_document",
        "embedding_types": kinds,
    }
    body = httpx.post(f"{small.url}/v2/embed", json=cohere, timeout=30).json()
    assert body["texts"] == texts
    assert [len(body["embeddings"][kind]) for kind in kinds] == [2000, 2000]
    tei = httpx.post(f"{small.url}/embed", json={"inputs": texts}, timeout=30).json()
    assert len(tei) == 2000


def test_a_client_of_http_1_0_gets_a_large_answer_by_its_length(small: Any) -> None:
    body = json.dumps({"input": [f"text {number}" for number in range(2000)]})
    with socket.create_connection(small.address, timeout=30) as old:
        old.sendall((HEAD.format(len(body)).replace("HTTP/1.1", "HTTP/1.0") + body).encode())
        received = b""
        while chunk := old.recv(2**20):
            received += chunk
    head, _, content = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert len(json.loads(content)["data"]) == 2000
