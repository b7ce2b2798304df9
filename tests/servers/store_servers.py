"""Redis and Memcached as processes of a test's own, on free ports, which it may stop, kill and start again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


class StoreServer:
    """`command` starts it, given a port."""

    def __init__(self, scheme: str, command: Callable[[int], list[str]]) -> None:
        self._command = command
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        self._popen = subprocess.Popen(
            self._command(self.port), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, f"{self.url} did not start"
                assert self._popen.poll() is None, f"{self.url} ended at once"
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None

    def hang(self) -> None:
        """It keeps its connections, takes new ones, and answers nothing."""
        assert self._popen is not None
        self._popen.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._popen is not None
        self._popen.send_signal(signal.SIGCONT)


@contextmanager
def redis_server() -> Iterator[StoreServer]:
    with store_server("redis-server", "redis", lambda port: ["--port", str(port), "--save", ""]) as server:
        yield server


@contextmanager
def memcached_server() -> Iterator[StoreServer]:
    arguments = ["--listen", "127.0.0.1", "--user", "nobody"]
    with store_server("memcached", "memcached", lambda port: ["--port", str(port), *arguments]) as server:
        yield server


@contextmanager
def store_server(program: str, scheme: str, arguments: Callable[[int], list[str]]) -> Iterator[StoreServer]:
    """Skips the test where the program is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed here")
    server = StoreServer(scheme, lambda port: [path, *arguments(port)])
    server.start()
    try:
        yield server
    finally:
        server.kill()
