"""The cache of vectors behind the API, with a real Redis that is killed, hangs, and outlives the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from store_servers import StoreServer, memcached_server, redis_server

from farthing.core.settings import CacheSettings

TEXTS = ["one text", "another text", "and a third"]
MAIN = "from farthing.cli.main import main; main()"


@pytest.fixture
def redis() -> Iterator[StoreServer]:
    with redis_server() as server:
        yield server


def post(url: str, texts: list[str], **others: object) -> httpx.Response:
    answer = httpx.post(f"{url}/v1/embeddings", json={"input": texts, **others}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


def vectors_of(answer: httpx.Response) -> np.ndarray:
    return np.array([item["embedding"] for item in answer.json()["data"]], dtype=np.float32)


def metrics_of(url: str) -> dict[str, float]:
    """By name and level."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
        if "cache" in sample.name
    }


def test_a_text_that_comes_again_is_not_computed_and_the_answer_says_so(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3, cache=CacheSettings()) as running:
        first, again = post(running.url, TEXTS), post(running.url, [*TEXTS, "new"])
        assert first.headers["x-farthing-cache"] == "hits=0, misses=3"
        assert again.headers["x-farthing-cache"] == "hits=3, misses=1"
        assert again.json()["data"][:3] == first.json()["data"]
        assert running.embedder.stats().texts_total == 4
        usage = again.json()["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] >= first.json()["usage"]["prompt_tokens"]
        metrics = metrics_of(running.url)
        assert metrics["farthing_cache_hits_total memory"] == 3
        assert metrics["farthing_cache_misses_total memory"] == 4
        assert metrics["farthing_cache_entries"] == 4
        assert 0 < metrics["farthing_cache_bytes"] < metrics["farthing_cache_limit_bytes"]


def test_without_a_cache_nothing_is_said_of_one(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3) as running:
        post(running.url, TEXTS)
        assert "x-farthing-cache" not in post(running.url, TEXTS).headers
        assert metrics_of(running.url) == {}


def test_token_ids_pass_the_cache_by(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3, cache=CacheSettings()) as running:
        answer = httpx.post(f"{running.url}/v1/embeddings", json={"input": [[5, 6, 7]]})
        assert answer.status_code == 200
        assert "x-farthing-cache" not in answer.headers


@pytest.mark.parametrize("start", [redis_server, memcached_server])
def test_servers_share_a_store(start: Any, launch: Any, tiny_qwen3: Path) -> None:
    with start() as server:
        cache = CacheSettings(cache=server.url, cache_timeout_ms=2000)
        with launch(tiny_qwen3, cache=cache) as running:
            first = post(running.url, TEXTS)
        with launch(tiny_qwen3, cache=cache) as running:
            again = post(running.url, TEXTS)
            metrics = metrics_of(running.url)
        assert again.headers["x-farthing-cache"] == "hits=3, misses=0"
        assert again.json()["data"] == first.json()["data"]
        level = start.__name__.removesuffix("_server")
        assert metrics[f"farthing_cache_hits_total {level}"] == 3
        assert metrics[f"farthing_cache_store_up {level}"] == 1
        assert metrics[f"farthing_cache_errors_total {level}"] == 0


def test_models_of_one_store_do_not_mix(launch: Any, tiny_qwen3: Path, starter_dir: Path, redis: StoreServer) -> None:
    cache = CacheSettings(cache=redis.url, cache_timeout_ms=2000)
    with launch(tiny_qwen3, cache=cache) as running:
        assert len(vectors_of(post(running.url, TEXTS))[0]) == 64
    with launch(starter_dir, cache=cache) as running:
        answer = post(running.url, TEXTS)
        assert answer.headers["x-farthing-cache"] == "hits=0, misses=3"
        assert len(vectors_of(answer)[0]) == 384


def test_requests_are_answered_while_redis_is_killed_and_comes_back(
    launch: Any, tiny_qwen3: Path, redis: StoreServer
) -> None:
    # Nothing is held in the process, so that every request asks Redis.
    with launch(tiny_qwen3, cache=CacheSettings(cache=redis.url)) as running:
        running.service._read_cache()._memory.trim(2**30)
        texts = [[f"text {number}", "a common one"] for number in range(12)]
        expected = [vectors_of(post(running.url, each)) for each in texts]

        def ask(number: int) -> bool:
            found = vectors_of(post(running.url, texts[number % 12]))
            return bool(np.abs(found - expected[number % 12]).max() < 1e-3)

        with ThreadPoolExecutor(8) as pool:
            before = [pool.submit(ask, number) for number in range(60)]
            redis.kill()
            during = [pool.submit(ask, number) for number in range(60)]
            assert all(future.result() for future in [*before, *during])
            redis.start()
            assert all(pool.map(ask, range(60)))
        assert metrics_of(running.url)["farthing_cache_errors_total redis"] > 0


def test_a_redis_that_hangs_slows_no_request_for_long(launch: Any, tiny_qwen3: Path, redis: StoreServer) -> None:
    with launch(tiny_qwen3, cache=CacheSettings(cache=redis.url)) as running:
        post(running.url, TEXTS)
        redis.hang()
        for number in range(50):  # five are enough where the machine is not too busy to tell
            started_s = time.perf_counter()
            post(running.url, [f"new text {number}"])
            assert time.perf_counter() - started_s < 0.9  # a client of Redis would have waited for a second and more
            if metrics_of(running.url)["farthing_cache_store_up redis"] == 0:
                break
        else:
            pytest.fail("Redis was asked all the time")
        redis.go_on()


@contextmanager
def serve(*arguments: str, said: str = "then redis") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`farthing serve ARGUMENTS` in a process of its own, when it is ready and has said that of its cache, and its
    address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")}
    command = [sys.executable, "-c", MAIN, "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as popen:
        try:
            assert popen.stdout is not None
            url = popen.stdout.readline().split()[2].rstrip(",")
            assert said in next(line for line in popen.stdout if line.startswith("  cache "))
            yield url, popen
        finally:
            popen.kill()


def test_the_start_says_that_a_redis_does_not_answer_and_goes_on(tiny_qwen3: Path) -> None:
    words = "; redis does not answer now (Error "
    with serve(str(tiny_qwen3), "--cache", "redis://127.0.0.1:1", said=words) as (url, popen):
        assert post(url, TEXTS).headers["x-farthing-cache"] == "hits=0, misses=3"
        popen.terminate()
        _, log = popen.communicate(timeout=30)
    assert "The cache's store does not answer (Error " in log


def test_after_a_kill_a_warm_redis_gives_the_same_bytes(tiny_qwen3: Path, redis: StoreServer) -> None:
    arguments = (str(tiny_qwen3), "--cache", f"redis://:@127.0.0.1:{redis.port}/3", "--cache-timeout-ms", "2000")
    with serve(*arguments) as (url, popen):
        first = post(url, TEXTS, encoding_format="base64")
        time.sleep(0.5)  # what is written in the background
        popen.send_signal(signal.SIGKILL)
        popen.wait()
    with serve(*arguments) as (url, popen):
        again = post(url, TEXTS, encoding_format="base64")
        cut = vectors_of(post(url, TEXTS, dimensions=16))
        popen.terminate()
        _, log = popen.communicate(timeout=30)
    assert popen.returncode == 0
    assert again.headers["x-farthing-cache"] == "hits=3, misses=0"
    assert again.json()["data"] == first.json()["data"]
    assert cut.shape == (3, 16)
    assert "cache = redis://***@127.0.0.1" in log
