"""Keys and sockets of a whole `farthing serve` process."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing.core.errors import SettingsError
from farthing.core.settings import ServerSettings
from farthing.server.http.listening import LOOPBACK, exposure, listen, listen_on_loopback, listeners_for

MAIN = "from farthing.cli.main import main; main()"
SECRET = "sk-never-to-be-seen"


@contextmanager
def serve(log: Path, *args: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose output, all of it, goes into `log`; it ends by SIGTERM and with status 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")}
    command = [sys.executable, "-c", MAIN, "serve", *args]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env={**environment, **variables}) as process,
    ):
        try:
            wait_for_line(log, "^Ready")
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def wait_for_line(log: Path, pattern: str) -> str:
    deadline = time.monotonic() + 60
    while not (found := re.search(pattern, log.read_text(), flags=re.MULTILINE)):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found[found.lastindex or 0]


def test_a_key_from_the_environment_is_needed_and_shown_nowhere(tiny_qwen3: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serve(log, str(tiny_qwen3), "--port", "0", "--log-level", "debug", FARTHING_API_KEY=SECRET):
        url = wait_for_line(log, r"Listening on (\S+),") + "/v1/models"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"authorization": f"Bearer {SECRET}"}).status_code == 200
    assert "api_key = *** (environment)" in log.read_text()
    assert SECRET not in log.read_text()


def test_sighup_reads_the_keys_again(tiny_qwen3: Path, tmp_path: Path) -> None:
    log, keys = tmp_path / "log", tmp_path / "keys.toml"
    keys.write_text('[a]\nkey = "first-key"\n')
    with serve(log, str(tiny_qwen3), "--port", "0", "--api-keys-file", str(keys)) as process:
        url = wait_for_line(log, r"Listening on (\S+),") + "/v1/models"
        keys.write_text('[a]\nkey = "second-key"\n[b]\nkey = "third-key"\n')
        assert httpx.get(url, headers={"x-api-key": "first-key"}).status_code == 200
        process.send_signal(signal.SIGHUP)
        wait_for_line(log, "Read 2 API keys")
        statuses = [
            httpx.get(url, headers={"x-api-key": key}).status_code for key in ("first-key", "second-key", "third-key")
        ]
        assert statuses == [401, 200, 200]


ENDLESS_LOADING = """
import time
from farthing.serving.embedder import Embedder
Embedder.from_settings = lambda *_, **__: time.sleep(1000)
"""


@pytest.mark.parametrize("variables", [{}, {"FARTHING_API_KEY": SECRET}])
def test_sighup_ends_no_server_that_has_no_file_of_keys(
    tiny_qwen3: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    log = tmp_path / "log"
    with serve(log, str(tiny_qwen3), "--port", "0", **variables) as process:
        url = wait_for_line(log, r"Listening on (\S+),")
        process.send_signal(signal.SIGHUP)
        wait_for_line(log, "no file of API keys")
        assert httpx.get(f"{url}/health").status_code == 200


@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_that_means_nothing_ends_no_server(tiny_qwen3: Path, tmp_path: Path, sent: signal.Signals) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", ENDLESS_LOADING + MAIN, "serve", str(tiny_qwen3), "--port", "0"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            url = wait_for_line(log, r"Listening on (\S+),")
            process.send_signal(sent)
            wait_for_line(log, f"{sent.name} means nothing to this server and is passed over")
            assert httpx.get(f"{url}/health").status_code == 503
        finally:
            process.kill()


def test_sighup_ends_no_server_that_is_loading(tiny_qwen3: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", ENDLESS_LOADING + MAIN, "serve", str(tiny_qwen3), "--port", "0"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            url = wait_for_line(log, r"Listening on (\S+),")
            process.send_signal(signal.SIGHUP)
            wait_for_line(log, "no file of API keys")
            assert httpx.get(f"{url}/health").status_code == 503
        finally:
            process.kill()


WARNING = "everyone who can reach this machine can use it, and read and change its indexes"


def test_a_server_that_everyone_can_use_says_so_and_how_to_set_a_key(tiny_qwen3: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serve(log, str(tiny_qwen3), "--port", "0", "--host", "::"):
        url = httpx.URL(wait_for_line(log, r"Listening on (\S+),"))
        for host in ("127.0.0.1", "[::1]"):  # :: is both families
            assert httpx.get(f"http://{host}:{url.port}/health").status_code == 200
        wait_for_line(log, r"^  warning  +This server asks for no API key")
        assert log.read_text().count(WARNING) == 2  # in the log and in the banner
        assert "FARTHING_API_KEY or --api-keys-file" in log.read_text()


@pytest.mark.parametrize(
    ("host", "settings", "is_said"),
    [
        ("0.0.0.0", {}, True),
        ("::", {}, True),
        ("0.0.0.0", {"has_keys": True}, False),
        ("0.0.0.0", {"takes_known_clients": True}, False),
        ("127.0.0.1", {}, False),
        ("::1", {}, False),
        ("localhost", {}, False),
    ],
)
def test_it_is_said_where_others_than_this_machines_users_come_in(
    host: str, settings: dict[str, bool], is_said: bool
) -> None:
    with listen(host, 0) as listener:
        found = exposure(listener, **{"has_keys": False, "takes_known_clients": False, **settings})
    assert (WARNING in found) == is_said
    assert bool(found) == is_said


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_all_addresses_are_those_of_both_families(host: str) -> None:
    with listen(host, 0) as listener:
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, listener.getsockname()[1]), timeout=5).close()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST"])
def test_localhost_is_both_of_this_machines_own_addresses(host: str) -> None:
    listeners = listeners_for(ServerSettings(host=host, port=0))
    try:
        assert len({listener.getsockname()[1] for listener in listeners}) == 1
        for listener, address in zip(listeners, LOOPBACK, strict=True):
            assert listener.getsockname()[0] == address
            socket.create_connection((address, listener.getsockname()[1]), timeout=5).close()
            assert exposure(listener, has_keys=False, takes_known_clients=False) == ""
    finally:
        for listener in listeners:
            listener.close()


def test_localhost_is_what_the_machine_has_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = socket.create_server

    def without_ipv6(address: tuple[str, int], **options: Any) -> socket.socket:
        if address[0] == "::1":
            raise OSError(errno.EADDRNOTAVAIL, "none")
        return opened(address, **options)

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    (listener,) = listen_on_loopback(0)
    with listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken_on_one_of_the_addresses_is_taken() -> None:
    with listen("::1", 0) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"Cannot listen on ::1 port {port}"):
            listeners_for(ServerSettings(host="localhost", port=port))
        listen("127.0.0.1", port).close()  # which was closed again


def test_a_server_on_localhost_answers_at_both_addresses(tiny_qwen3: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serve(log, str(tiny_qwen3), "--port", "0", "--host", "localhost"):
        url = httpx.URL(wait_for_line(log, r"Listening on (\S+),"))
        for host in ("localhost", "127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{host}:{url.port}/health").status_code in (200, 503)
        assert WARNING not in log.read_text()


@pytest.mark.parametrize("host", ["", "*"])
def test_a_host_that_means_all_elsewhere_is_told_how_it_is_written_here(host: str) -> None:
    with pytest.raises(SettingsError, match="to listen on all addresses, give ::, or"):
        listen(host, 0)


def test_a_unix_socket_is_served(tiny_qwen3: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serve(tmp_path / "log", str(tiny_qwen3), "--uds", str(path), "--requests-per-minute", "2"):
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://any") as client:
            statuses = [client.post("/v1/embeddings", json={"input": "a"}).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
