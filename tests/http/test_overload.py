"""More work than there is room or time for: who is refused, who is late, who goes first, and how a server ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing.core.errors import ClosedError
from farthing.core.settings import ServerSettings, ServingSettings
from farthing.engine.runner import Runner

TEXT = {"input": "a"}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Forward passes wait until this is set."""
    go_on, run = threading.Event(), Runner.run

    def wait_and_run(self: Runner, *args: Any) -> Any:
        assert go_on.wait(30)
        return run(self, *args)

    monkeypatch.setattr(Runner, "run", wait_and_run)
    yield go_on
    go_on.set()


def post(running: Any, body: dict[str, object] = TEXT, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{running.url}/v1/embeddings", json=body, headers=named, timeout=60)


def code_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"]["code"])


@contextmanager
def busy(running: Any, pool: ThreadPoolExecutor, held: threading.Event, *bodies: dict[str, object]) -> Iterator[None]:
    """While a batch runs and those bodies' texts wait behind it."""
    held.clear()
    running_total = running.embedder.stats().queue_waits_total
    answers = [pool.submit(post, running)]
    running.wait_until(lambda: running.embedder.stats().queue_waits_total > running_total)
    waiting = 0
    for body in bodies:
        answers.append(pool.submit(post, running, body))
        waiting += len(body["input"])  # type: ignore[arg-type]
        running.wait_until(lambda waiting=waiting: running.embedder.stats().waiting_texts == waiting)
    yield
    held.set()
    for answer in answers:
        assert answer.result(timeout=60).status_code == 200


def test_a_full_queue_refuses_and_says_when_to_come_back(launch: Any, tiny_qwen3: Path, held: threading.Event) -> None:
    settings = ServingSettings(max_queue_texts=4)
    with launch(tiny_qwen3, serving=settings) as running, ThreadPoolExecutor(4) as pool:
        with busy(running, pool, held, {"input": ["a", "b", "c"]}):
            answer = post(running, {"input": ["d", "e"]})
            assert code_of(answer, 429) == "queue_full"
            assert answer.headers["retry-after"] == "1"
            running.embedder._scheduler.speed.note(1, 2.0)
            assert int(post(running, {"input": ["d", "e"]}).headers["retry-after"]) > 1
            assert running.embedder.stats().refused_requests_total == 2
        assert post(running, {"input": ["d", "e"]}).status_code == 200
        assert code_of(post(running, {"input": ["d"] * 5}), 400) == "too_many_texts"  # there would never be room


def test_a_request_that_would_wait_too_long_is_refused_at_once(
    launch: Any, tiny_qwen3: Path, held: threading.Event
) -> None:
    with launch(tiny_qwen3, serving=ServingSettings(max_queue_ms=1000)) as running, ThreadPoolExecutor(4) as pool:
        many = {"input": [f"text {number}" for number in range(100)]}
        with busy(running, pool, held, many):
            running.embedder._scheduler.speed.note(10, 1.0)
            assert post(running, {"input": "short"}, x_request_timeout_ms="50").status_code == 504  # taken, then late
            answer = post(running, {"input": [f"other {number}" for number in range(1000)]})
            assert code_of(answer, 429) == "queue_full"
            assert "max_queue_ms" in answer.json()["error"]["message"]
            assert int(answer.headers["retry-after"]) > 10


def test_an_interactive_request_passes_bulk_ones(launch: Any, tiny_qwen3: Path, held: threading.Event) -> None:
    order: list[str] = []

    def ask(name: str, priority: str, texts: list[str]) -> None:
        assert post(running, {"input": texts}, x_priority=priority).status_code == 200
        order.append(name)

    with launch(tiny_qwen3, serving=ServingSettings(max_batch_size=8)) as running, ThreadPoolExecutor(8) as pool:
        with busy(running, pool, held):
            bulk = pool.submit(ask, "bulk", "bulk", [f"text {number}" for number in range(100)])
            running.wait_until(lambda: running.embedder.stats().waiting_bulk_texts == 100)
            quick = pool.submit(ask, "interactive", "interactive", ["quick"])
            running.wait_until(lambda: running.embedder.stats().waiting_texts == 101)
        bulk.result(timeout=60)
        quick.result(timeout=60)
    assert order == ["interactive", "bulk"]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/embeddings", TEXT), ("/v1/rerank", {"query": "a", "documents": ["b"]})],
)
def test_every_route_for_work_checks_the_headers(path: str, body: dict[str, object], client: httpx.Client) -> None:
    for header, value in (("x-priority", "high"), ("x-request-timeout-ms", "soon")):
        answer = client.post(path, json=body, headers={header: value})
        assert code_of(answer, 400) == "invalid_input"
        assert answer.json()["error"]["param"] == header


def test_a_request_whose_time_is_over_is_answered_and_not_computed(
    launch: Any, tiny_qwen3: Path, held: threading.Event
) -> None:
    settings = ServingSettings(request_timeout_s=20)
    with launch(tiny_qwen3, serving=settings) as running, ThreadPoolExecutor(2) as pool:
        with busy(running, pool, held):
            started = time.monotonic()
            answer = post(running, {"input": ["late", "later"]}, x_request_timeout_ms="500")
            assert time.monotonic() - started < 10
            assert code_of(answer, 504) == "deadline_exceeded"
            assert "500 ms" in answer.json()["error"]["message"]
            assert running.embedder.stats().waiting_texts == 0
        assert running.embedder.stats().texts_total == 1
        assert running.embedder.stats().expired_requests_total == 1


def test_waiting_for_a_turn_counts_against_the_time_limit(launch: Any, tiny_qwen3: Path, held: threading.Event) -> None:
    settings = ServingSettings(request_timeout_s=0.2, max_running_requests=1)
    with launch(tiny_qwen3, serving=settings) as running, ThreadPoolExecutor(3) as pool:
        held.clear()
        answers = [pool.submit(post, running) for _ in range(3)]
        assert {code_of(answer.result(timeout=30), 504) for answer in answers} == {"deadline_exceeded"}
        held.set()
        running.wait_until(lambda: running.embedder.stats().batches_total)
        assert post(running, x_request_timeout_ms="9000").status_code in (200, 504)


def test_bulk_texts_of_a_client_that_hangs_up_leave_the_queue(
    launch: Any, tiny_qwen3: Path, held: threading.Event
) -> None:
    body = json.dumps({"input": [f"text {number}" for number in range(500)]}).encode()
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\nx-priority: bulk\r\ncontent-length: %d\r\n\r\n" % len(body)
    with launch(tiny_qwen3) as running, ThreadPoolExecutor(2) as pool, busy(running, pool, held):
        with socket.create_connection(running.address, timeout=30) as connection:
            connection.sendall(head + body)
            running.wait_until(lambda: running.embedder.stats().waiting_bulk_texts == 500)
        running.wait_until(lambda: running.embedder.stats().waiting_texts == 0)


def test_a_stopping_server_finishes_what_it_has_and_takes_nothing_more(
    launch: Any, tiny_qwen3: Path, held: threading.Event
) -> None:
    with launch(tiny_qwen3) as running, ThreadPoolExecutor(2) as pool, httpx.Client(base_url=running.url) as kept:
        assert kept.get("/health").status_code == 200
        with busy(running, pool, held):
            running.web.handle_exit(signal.SIGTERM, None)
            health = kept.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "closed")
            assert health.headers["connection"] == "close"
            running.wait_until(lambda: running.web.should_exit)
            running.wait_until(lambda: refuses_connections(running))


def refuses_connections(running: Any) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(running.address) != 0


def test_new_work_on_a_connection_that_is_still_open_is_told_to_go_elsewhere(
    launch: Any, tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stay(*_: object) -> bool:
        await asyncio.sleep(0)
        return False

    with launch(tiny_qwen3) as running:
        with monkeypatch.context() as patch:
            patch.setattr(running.web, "on_tick", stay)  # uvicorn would close the port within a tenth of a second
            running.web.handle_exit(signal.SIGTERM, None)
            answer = post(running)
        assert code_of(answer, 503) == "closed"
        assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", "1")


def test_with_a_delay_work_is_taken_while_load_balancers_turn_away(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3, server=ServerSettings(drain_delay_s=1.5)) as running:
        running.web.handle_exit(signal.SIGTERM, None)
        assert httpx.get(f"{running.url}/health").status_code == 503
        answer = post(running)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert not running.web.should_exit
        running.wait_until(lambda: running.web.should_exit)


def test_long_texts_that_are_cut_count_as_what_they_are_cut_to_and_keep_nobody_out(
    launch: Any, tiny_qwen3: Path, held: threading.Event
) -> None:
    settings = ServingSettings(truncate=True, max_queue_tokens=2 * 2**20)
    long = {"input": ["word " * 100_000] * 30}  # a million tokens each, by their length
    with launch(tiny_qwen3, serving=settings) as running, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(post, running, {"input": "running"}), pool.submit(post, running, long)]
        running.wait_until(lambda: running.embedder.stats().admitted_requests_total == 2)
        answers.append(pool.submit(post, running, {"input": ["short"]}))
        running.wait_until(lambda: running.embedder.stats().admitted_requests_total == 3)
        assert running.embedder.stats().refused_requests_total == 0
        running.embedder._scheduler.refuse(ClosedError("The test is over."), drop_open=True)
        held.set()
        for answer in answers:
            assert answer.result(timeout=60).status_code in (200, 503)
