"""Limits that several servers share in a Redis, and what becomes of them when it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from store_servers import StoreServer, redis_server

from farthing.core.settings import AccessSettings
from farthing.server import rate_counts


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
    monkeypatch.setattr(rate_counts, "RETRY_S", 4.0)
    with launch(tiny_qwen3, access=shared(redis, requests_per_minute=20, tokens_per_minute=100_000)) as running:
        assert embed(running).headers["x-ratelimit-remaining-requests"] == "19"
        fail(redis)
        for _ in range(3):
            started = time.monotonic()
            assert embed(running).status_code == 200
            assert time.monotonic() - started < 0.9
        warnings = [record for record in caplog.records if "storage fails" in record.getMessage()]
        assert len(warnings) == 1
        assert int(embed(running).headers["x-ratelimit-remaining-requests"]) >= 16  # counted, for this process alone
        if fail is StoreServer.kill:
            redis.start()
            back = "19"  # it has forgotten
        else:
            redis.go_on()
            back = "18"
        time.sleep(4.1)
        assert embed(running).headers["x-ratelimit-remaining-requests"] == back


def test_a_redis_that_is_not_there_at_the_start_stops_nothing(
    launch: Any, tiny_qwen3: Path, redis: StoreServer
) -> None:
    redis.kill()
    with launch(tiny_qwen3, access=shared(redis, requests_per_minute=2)) as running:
        assert [embed(running).status_code for _ in range(3)] == [200, 200, 429]
