"""Limits that several servers share in a Redis, and what becomes of them when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from store_servers import StoreServer, redis_server

from farthing.core.settings import AccessSettings
from farthing.server.limits import rate_counts
from farthing.server.limits.rate_counts import ANY_AMOUNT, PREFIX, MemoryCounts, RedisCounts


@pytest.fixture(autouse=True)
def within_a_minute(request: pytest.FixtureRequest) -> None:
    """Amounts of a minute that is over fade, by Redis' clock: a test with Redis does not begin at the end of one."""
    seconds = time.time() % 60
    if "redis" in request.fixturenames and seconds > 45:
        time.sleep(61 - seconds)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that a busy machine leaves waiting for 50 ms has not failed, nor one that it leaves waiting for 2 s."""
    monkeypatch.setattr(rate_counts, "TIMEOUT_S", 20.0)


@pytest.fixture
def redis() -> Iterator[StoreServer]:
    with redis_server() as server:
        yield server


def shared(server: StoreServer, **limits: int) -> AccessSettings:
    return AccessSettings(rate_limit_storage=server.url, **limits)  # type: ignore[arg-type]


def embed(running: Any, texts: object = "a") -> httpx.Response:
    return httpx.post(f"{running.url}/v1/embeddings", json={"input": texts}, timeout=60)


def test_two_servers_count_together(launch: Any, tiny_qwen3: Path, redis: StoreServer) -> None:
    access = shared(redis, requests_per_minute=4, tokens_per_minute=1000)
    with launch(tiny_qwen3, access=access) as one, launch(tiny_qwen3, access=access) as other:
        answers = [embed(running) for running in (one, other, one, other, one, other)]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == list("321000")
        assert 0 < int(answers[-1].headers["retry-after"]) <= 120
        left = [int(answer.headers["x-ratelimit-remaining-tokens"]) for answer in answers[:4]]
        cost = answers[0].json()["usage"]["total_tokens"]
        assert left == [1000 - cost * number for number in (1, 2, 3, 4)]


def test_tokens_spent_at_one_server_are_missing_at_the_other(launch: Any, tiny_qwen3: Path, redis: StoreServer) -> None:
    access = shared(redis, tokens_per_minute=1000)
    with launch(tiny_qwen3, access=access) as one, launch(tiny_qwen3, access=access) as other:
        assert embed(one, ["word " * 400] * 4).status_code == 200
        assert embed(other).status_code == 429


@pytest.mark.parametrize("fail", [StoreServer.kill, StoreServer.hang])
def test_no_request_fails_or_waits_when_redis_is_killed_or_hangs(
    launch: Any,
    tiny_qwen3: Path,
    redis: StoreServer,
    fail: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "farthing")
    monkeypatch.setattr(rate_counts, "TIMEOUT_S", 3.0)
    monkeypatch.setattr(rate_counts, "RETRY_S", 6.0)
    with launch(tiny_qwen3, access=shared(redis, requests_per_minute=20, tokens_per_minute=100_000)) as running:
        assert embed(running).headers["x-ratelimit-remaining-requests"] == "19"
        fail(redis)
        for _ in range(3):
            started = time.monotonic()
            assert embed(running).status_code == 200
            assert time.monotonic() - started < 6
        warnings = [record for record in caplog.records if "storage fails" in record.getMessage()]
        assert len(warnings) == 1
        assert int(embed(running).headers["x-ratelimit-remaining-requests"]) >= 16  # counted, for this process alone
        if fail is StoreServer.kill:
            redis.start()
            back = "19"  # it has forgotten
        else:
            redis.go_on()
            back = "18"
        time.sleep(6.1)
        assert embed(running).headers["x-ratelimit-remaining-requests"] == back


def test_a_redis_that_is_not_there_at_the_start_stops_nothing(
    launch: Any, tiny_qwen3: Path, redis: StoreServer
) -> None:
    redis.kill()
    with launch(tiny_qwen3, access=shared(redis, requests_per_minute=2)) as running:
        assert [embed(running).status_code for _ in range(3)] == [200, 200, 429]


def test_requests_at_once_at_two_servers_share_the_tokens(launch: Any, tiny_qwen3: Path, redis: StoreServer) -> None:
    access = shared(redis, tokens_per_minute=1000)
    with (
        launch(tiny_qwen3, access=access) as one,
        launch(tiny_qwen3, access=access) as other,
        ThreadPoolExecutor(12) as pool,
    ):
        # FastAPI prepares routes at the first request, in one thread at a time.
        for running in (one, other):
            assert httpx.post(f"{running.url}/v1/embeddings", content=b"{").status_code == 400
        texts = ["word " * 300] * 10
        answers = list(pool.map(lambda number: embed((one, other)[number % 2], texts), range(12)))
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(200) <= 2
        assert set(statuses) == {200, 429}
        assert int(embed(one).headers["retry-after"]) > 60
        assert int(embed(other).headers["retry-after"]) > 60


def test_redis_counts_as_this_process_does(redis: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same amounts at the same times: minutes pass in both by setting back when an amount was spent."""
    chance, clock = random.Random(7), SimpleNamespace(now=0.0)
    monkeypatch.setattr(rate_counts, "time", SimpleNamespace(monotonic=lambda: clock.now))

    async def check() -> None:
        counts, client = RedisCounts(redis.url), Redis.from_url(redis.url)
        for number in range(60):
            held, limit, key, minutes = MemoryCounts(), chance.randint(1, 50), f"key-{number}", 1000
            for _ in range(chance.randint(1, 12)):
                amount, own = chance.choice([0, 1, 5, 200, -3, -50]), chance.choice([0, 0, 0, 10, ANY_AMOUNT])
                found = await counts.spend(key, limit, amount, own)
                clock.now = (minutes + found[1].passed) * 60 + 1e-9
                is_counted, spent = held.spend(key, limit, amount, own)
                assert (is_counted, spent.previous, spent.current) == (found[0], found[1].previous, found[1].current)
                passing = chance.choice([0, 0, 1, 2, 5])
                minutes += passing
                if passing and await client.exists(PREFIX + key):
                    await client.hincrby(PREFIX + key, "minute", -passing)
        await client.aclose()
        await counts.close()

    asyncio.run(check())


def test_a_clock_of_redis_that_is_set_back_locks_nobody_out(redis: StoreServer) -> None:
    async def check() -> None:
        counts, client = RedisCounts(redis.url), Redis.from_url(redis.url)
        assert (await counts.spend("a", 5, 5, 0))[0]
        await client.hincrby(f"{PREFIX}a", "minute", 10_000)
        is_counted, spent = await counts.spend("a", 5, 1, 0)
        assert not is_counted
        assert spent.wait_s(4) < 120
        assert 60 <= await client.ttl(f"{PREFIX}a") <= 180
        await client.aclose()
        await counts.close()

    asyncio.run(check())


@pytest.mark.parametrize(
    "nonsense", [b"+OK\r\n", b"*1\r\n$1\r\nx\r\n", b":1\r\n", b"*4\r\n:1\r\n:2\r\n:3\r\n:-4\r\n", b"?"]
)
def test_a_storage_that_answers_nonsense_fails_no_request(
    launch: Any, tiny_qwen3: Path, nonsense: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_counts, "TIMEOUT_S", 1.0)  # "?" is no end of an answer
    # One second after a full minute, and so for all requests: counts of a minute that is over fade.
    monkeypatch.setattr(rate_counts, "time", SimpleNamespace(monotonic=lambda: 60_000_001.0))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_all() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                while connection.recv(65536):
                    connection.sendall(nonsense)

        threading.Thread(target=answer_all, daemon=True).start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        access = AccessSettings(rate_limit_storage=url, requests_per_minute=3, tokens_per_minute=1000)
        with launch(tiny_qwen3, access=access) as running:
            assert [embed(running).status_code for _ in range(4)] == [200] * 3 + [429]
