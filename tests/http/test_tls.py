"""HTTPS with a certificate made here, client certificates, and Unix sockets."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from farthing.core.errors import SettingsError
from farthing.core.settings import ConnectionSettings, ServerSettings
from farthing.server.http.listening import listen_unix
from farthing.server.run import make_server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test"]
    subprocess.run(
        [openssl, "req", "-x509", *options, "-addext", "subjectAltName=IP:127.0.0.1", "-out", cert, "-keyout", key],
        check=True,
        capture_output=True,
    )
    return cert, key


def test_https_is_served_with_the_given_certificate(
    launch: Any, tiny_qwen3: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = map(str, certificate)
    settings = ConnectionSettings(tls_certfile=cert, tls_keyfile=key, max_header_bytes=4096)
    trusting = ssl.create_default_context(cafile=cert)
    with launch(tiny_qwen3, connection=settings) as running, httpx.Client(verify=trusting) as client:
        assert running.url.startswith("https://")
        assert client.post(f"{running.url}/v1/embeddings", json={"input": "a"}).status_code == 200
        assert client.get(f"{running.url}/health", headers={"x-large": "x" * 5000}).status_code == 431
        with pytest.raises(httpx.HTTPError):
            httpx.get(running.url.replace("https", "http"))


def test_clients_without_a_certificate_are_refused_when_one_is_asked_for(
    launch: Any, tiny_qwen3: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = map(str, certificate)
    settings = ConnectionSettings(tls_certfile=cert, tls_keyfile=key, tls_ca=cert)
    trusting, known = (ssl.create_default_context(cafile=cert) for _ in range(2))
    known.load_cert_chain(cert, key)
    with launch(tiny_qwen3, connection=settings) as running:
        with httpx.Client(verify=known) as client:
            assert client.get(f"{running.url}/health").status_code == 200
        with httpx.Client(verify=trusting) as client, pytest.raises(httpx.HTTPError):
            client.get(f"{running.url}/health")


def test_files_of_tls_that_cannot_be_used_are_named(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, missing, empty = str(certificate[0]), str(tmp_path / "nothing.pem"), tmp_path / "empty.pem"
    empty.write_text("")
    for settings, message in (
        (ConnectionSettings(tls_certfile=missing), f"Cannot read tls_certfile {missing}: No such file or directory"),
        (ConnectionSettings(tls_certfile=cert, tls_keyfile=missing), f"Cannot read tls_keyfile {missing}: No such"),
        (ConnectionSettings(tls_certfile=str(empty)), f"{empty} must hold a certificate .*, and the same file its"),
        (ConnectionSettings(tls_certfile=cert), f"{cert} must hold a certificate .*, and the same file its private"),
    ):
        with pytest.raises(SettingsError, match=message):
            make_server(FastAPI(), ServerSettings(), settings)


def test_a_unix_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with listen_unix(path), pytest.raises(SettingsError, match=f"Cannot listen on {path}: Address already in use"):
        listen_unix(path)
    listen_unix(path).close()
