"""`farthing serve` as a process, and clients that ask it without a pause."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

MAIN = "from farthing.cli.main import main; main()"


def environment(**others: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")} | others


class Process:
    """`farthing serve` with its log in a file."""

    def __init__(self, log: Path, *args: str, **env: str) -> None:
        self.log = log
        command = [sys.executable, "-c", MAIN, "serve", *args]
        with log.open("w") as file:
            self.popen = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment(**env))
        wait_for(lambda: "Listening on " in self.text() or self.popen.poll() is not None)
        found = re.search(r"Listening on (\S+),", self.text())
        self.url = found[1] if found else ""

    def text(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        wait_for(lambda: "\nReady" in self.text() or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.text()


def wait_for(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@contextmanager
def load_on(url: str, headers: Mapping[str, str] | None = None) -> Iterator[list[httpx.Response]]:
    """Four clients that ask without a pause, until the end of the block; their answers."""
    answers: list[httpx.Response] = []
    ended = False

    def ask(client: int) -> None:
        with httpx.Client(timeout=60, headers=headers) as session:
            number = 0
            while not ended:
                number += 1
                texts = [f"client {client} text {number}", "and more words"]
                answers.append(session.post(f"{url}/v1/embeddings", json={"input": texts}))

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask, client) for client in range(4)]
        try:
            yield answers
        finally:
            ended = True
        for client in clients:
            client.result(timeout=60)


def end_at_once(*_: object) -> None:
    """For a process that ends before it is done. It is here since a process that is spawned can import it."""
    os._exit(9)
