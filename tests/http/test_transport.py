"""Clients that misbehave below JSON: too large, too slow, gone. Raw sockets, since no HTTP library does these."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing.core.settings import ServerSettings

MAX_BODY_BYTES = 4096
HEAD = b"POST /v1/embeddings HTTP/1.1\r\nhost: test\r\n"


@pytest.fixture(scope="module")
def small(launch: Any, tiny_qwen3: Path) -> Iterator[Any]:
    """A server that takes bodies of up to 4 KiB."""
    with launch(tiny_qwen3, server=ServerSettings(max_body_bytes=MAX_BODY_BYTES)) as running:
        yield running


@contextmanager
def connect(running: Any) -> Iterator[socket.socket]:
    with socket.create_connection(running.address, timeout=30) as connection:
        yield connection


def read_answer(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of one answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(lines[b"content-length"]):
        body += receive(connection)
    return int(head.split()[1]), json.loads(body)


def receive(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    assert chunk, "the server closed the connection"
    return chunk


def wait_for(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def request(body: bytes) -> bytes:
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(small: Any) -> None:
    with connect(small) as connection:
        connection.sendall(HEAD + b"content-length: 99999999\r\n\r\n")
        status, body = read_answer(connection)
    assert status == 413
    assert body["error"]["type"] == "invalid_request_error"
    assert "99999999 bytes" in body["error"]["message"]
    assert "4096" in body["error"]["message"]


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(small: Any) -> None:
    with connect(small) as connection:
        connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(5):  # never ended: only a count on the way can refuse it
            connection.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
        status, body = read_answer(connection)
    assert status == 413
    assert "over 4096 bytes" in body["error"]["message"]


def test_a_refused_client_that_goes_on_sending_reads_its_answer(small: Any) -> None:
    response = httpx.post(f"{small.url}/v1/embeddings", content=b" " * 2_000_000)
    assert response.status_code == 413


def test_a_body_of_exactly_the_limit_is_taken(small: Any) -> None:
    body = json.dumps({"input": "a"}).encode()
    for padded, status in ((body.ljust(MAX_BODY_BYTES), 200), (body.ljust(MAX_BODY_BYTES + 1), 413)):
        assert httpx.post(f"{small.url}/v1/embeddings", content=padded).status_code == status
        chunks = iter([padded[:100], padded[100:]])  # an iterator is sent chunked
        assert httpx.post(f"{small.url}/v1/embeddings", content=chunks).status_code == status


def test_slow_senders_get_their_answer_and_hold_up_nobody(small: Any) -> None:
    slow = request(b'{"input": "slow"}')
    with connect(small) as connection, connect(small) as silent:
        silent.sendall(HEAD)  # and never the rest
        for at in range(0, len(slow), 10):
            connection.sendall(slow[at : at + 10])
            if at % 30 == 0:
                answer = httpx.post(f"{small.url}/v1/embeddings", json={"input": "fast"}, timeout=10)
                assert answer.status_code == 200
        assert read_answer(connection)[0] == 200


def test_requests_on_one_connection_are_answered_in_order(small: Any) -> None:
    with connect(small) as connection:
        connection.sendall(request(b'{"input": ["a", "b"]}') + request(b'{"input": "c"}'))
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 2 or not received.endswith(b"}}"):
            received += receive(connection)
    assert received.index(b'"index":1') < received.rindex(b"HTTP/1.1 200 OK")


def test_what_is_no_http_is_refused(small: Any) -> None:
    with connect(small) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")  # the start of a TLS handshake
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{small.url}/health").status_code == 200


def test_texts_of_a_client_that_hangs_up_leave_the_queue(
    launch: Any, starter_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "farthing")
    texts = [f"{number} " + "some words to embed " * 10 for number in range(4000)]  # many seconds of work
    body = json.dumps({"input": texts}).encode()
    with launch(starter_dir) as running:
        with connect(running) as connection:
            connection.sendall(request(body))
            wait_for(lambda: running.embedder.stats().batches_total > 0)
            assert running.embedder.stats().waiting_texts > 0
        wait_for(lambda: running.embedder.stats().waiting_texts == 0, timeout_s=5)
        # What was already in a batch may still finish; then the server is free for others.
        assert httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"}, timeout=10).status_code == 200
        assert running.embedder.stats().texts_total < 2000
        metrics = httpx.get(f"{running.url}/metrics").text
    assert 'farthing_http_requests_total{route="/v1/embeddings",status="499"} 1.0' in metrics
    assert any("/v1/embeddings 499" in record.getMessage() for record in caplog.records)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_hangs_up_in_the_middle_of_its_body_is_forgotten(
    small: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "farthing")
    with connect(small) as connection:
        connection.sendall(HEAD + b'content-length: 500\r\n\r\n{"input": ')
    wait_for(lambda: any("/v1/embeddings 499" in record.getMessage() for record in caplog.records))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_many_clients_that_hang_up_leave_the_server_as_it_was(small: Any) -> None:
    def hang_up() -> None:
        with connect(small) as connection:
            connection.sendall(request(json.dumps({"input": ["word " * 20] * 30}).encode()))

    threads = [threading.Thread(target=hang_up) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: small.embedder.stats().waiting_texts == 0)
    assert httpx.post(f"{small.url}/v1/embeddings", json={"input": "a"}).status_code == 200
