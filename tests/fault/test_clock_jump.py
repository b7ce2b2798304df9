"""The wall clock jumps while requests are under way: no wait, pause or limit is measured with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

MAIN = "from farthing.cli.main import main; main()"
LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"),
)


@pytest.fixture
def library() -> Path:
    found = next((path for path in LIBRARIES if path.is_file()), None)
    if found is None:
        pytest.skip("libfaketime is not installed (Debian package faketime)")
    return found


def server_time(client: httpx.Client) -> float:
    """By the wall clock that the server sees."""
    return parsedate_to_datetime(client.get("/health").headers["date"]).timestamp()


def test_requests_are_answered_while_the_clock_goes_a_day_ahead_and_back(
    library: Path, starter_dir: Path, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = os.environ | {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    command = [sys.executable, "-c", MAIN, "serve", "--port", "0", str(starter_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(",")
        for line in process.stdout:
            if line.strip().startswith("try"):
                break
        try:
            with ThreadPoolExecutor(4) as pool, httpx.Client(base_url=url, timeout=30) as client:
                started = time.monotonic()
                for jump in ("+1d", "-1d", "+400d", "+0"):
                    bodies = [{"input": [f"{jump} {number} {place}" for place in range(20)]} for number in range(8)]
                    waiting = [pool.submit(client.post, "/v1/embeddings", json=body) for body in bodies]
                    clock.write_text(jump)
                    assert [answer.result().status_code for answer in waiting] == [200] * 8
                    while (abs(server_time(client) - time.time()) > 3600) != (jump != "+0"):
                        assert time.monotonic() - started < 60, "it did not jump"
                assert time.monotonic() - started < 60
        finally:
            process.terminate()
        assert process.wait(30) == 0
