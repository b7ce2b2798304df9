"""deploy/nginx/farthing.conf in a real nginx in front of a live server."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

CONFIG = Path(__file__).parents[2] / "deploy/nginx/farthing.conf"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
pytestmark = pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed")

MAIN = """
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/farthing.conf;
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def run_nginx(folder: Path, upstream: str, change: Callable[[str], str] = lambda config: config) -> Iterator[str]:
    """nginx with our file, changed in its addresses alone; gives its URL."""
    port = free_port()
    config = CONFIG.read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    assert "127.0.0.1:30000" in config
    (folder / "farthing.conf").write_text(change(config.replace("127.0.0.1:30000", upstream)))
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    with subprocess.Popen(
        [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.PIPE
    ) as popen:
        try:
            wait_for_port(port, popen)
            yield f"http://127.0.0.1:{port}"
        finally:
            popen.terminate()


def wait_for_port(port: int, popen: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert popen.poll() is None, popen.communicate()[1].decode()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("nginx does not listen")


def without_rate_limit(config: str) -> str:
    assert "rate=20r/s" in config
    return config.replace("rate=20r/s", "rate=10000r/s")


@pytest.fixture(scope="module")
def front(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    host, port = server.address
    with run_nginx(tmp_path_factory.mktemp("nginx"), f"{host}:{port}", without_rate_limit) as url:
        yield url


def test_a_body_of_15_megabytes_passes(front: str) -> None:
    answer = httpx.post(f"{front}/v1/embeddings", json={"input": "a", "user": "x" * 15_000_000}, timeout=60)
    assert (answer.status_code, len(answer.json()["data"])) == (200, 1)


def test_a_body_over_the_limit_is_refused_in_openais_shape(front: str) -> None:
    with socket.create_connection((httpx.URL(front).host, httpx.URL(front).port or 0)) as sender:
        sender.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 70000000\r\n\r\n")
        head, _, body = sender.recv(65536).partition(b"\r\n\r\n")
    assert b" 413 " in head.splitlines()[0]
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


def test_a_large_answer_comes_whole(front: str, client: httpx.Client) -> None:
    body = {"input": [f"text {number}" for number in range(1300)]}
    through, direct = (
        httpx.post(f"{front}/v1/embeddings", json=body, timeout=120),
        client.post("/v1/embeddings", json=body),
    )
    assert len(through.content) > 5_000_000
    assert through.json() == direct.json()


def test_a_request_keeps_its_id_or_gets_one(front: str) -> None:
    named = httpx.post(f"{front}/v1/embeddings", json={"input": "a"}, headers={"x-request-id": "mine-1"})
    assert named.headers.get_list("x-request-id") == ["mine-1"]
    other = httpx.post(f"{front}/v1/embeddings", json={"input": "a"})
    assert len(other.headers["x-request-id"]) == 32


def test_any_name_of_the_proxy_is_answered_and_strangers_pages_are_not(front: str) -> None:
    named = {"host": "search.example.org"}
    assert httpx.post(f"{front}/v1/embeddings", json={"input": "a"}, headers=named).status_code == 200
    page = {**named, "origin": "https://evil.example"}
    assert httpx.post(f"{front}/v1/embeddings", json={"input": "a"}, headers=page).status_code == 403


def test_metrics_are_not_shown_outside(front: str) -> None:
    assert httpx.get(f"{front}/metrics").status_code == 404
    assert httpx.get(f"{front}/health").status_code == 200


def test_the_rate_limit_answers_429_and_lets_others_through(server: Any, tmp_path: Path) -> None:
    host, port = server.address
    # One client: making each takes longer than the limit's burst.
    with run_nginx(tmp_path, f"{host}:{port}") as url, ThreadPoolExecutor(8) as pool, httpx.Client() as session:
        answers = list(pool.map(lambda _: session.get(f"{url}/v1/models"), range(150)))
    codes = {answer.status_code for answer in answers}
    assert codes == {200, 429}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(answers) - len(refused) >= 40  # the burst
    for answer in refused:
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert answer.headers["retry-after"] == "1"


class CountingServer:
    """Takes connections, reads requests, and either answers them or hangs up without an answer."""

    def __init__(self, *, answers: bool) -> None:
        self.connections, self.requests, self._answers = 0, 0, answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                self.requests += 1
                if not self._answers:
                    return
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_connections_to_the_server_are_used_again(tmp_path: Path) -> None:
    behind = CountingServer(answers=True)
    with run_nginx(tmp_path, behind.address, without_rate_limit) as url:
        for _ in range(20):
            assert httpx.get(f"{url}/v1/models").status_code == 200
    assert behind.requests == 20
    assert behind.connections == 1


def test_a_request_that_was_sent_is_not_sent_again(tmp_path: Path) -> None:
    behind = CountingServer(answers=False)
    two = f"{behind.address};\n    server {behind.address}"
    with run_nginx(tmp_path, two, without_rate_limit) as url:
        answer = httpx.post(f"{url}/v1/embeddings", json={"input": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert behind.requests == 1


def test_a_slow_sender_does_not_hold_the_server(tmp_path: Path) -> None:
    behind = CountingServer(answers=True)
    with run_nginx(tmp_path, behind.address, without_rate_limit) as url:
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port or 0)) as sender:
            sender.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
            time.sleep(0.3)
            assert behind.connections == 0  # nginx waits for the rest itself
            sender.sendall(b"cd")
            assert b"200 OK" in sender.recv(65536)
