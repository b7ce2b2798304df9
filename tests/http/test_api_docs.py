"""docs/api.md against a live server: its examples work, and its table names the routes that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing.core.settings import ServerSettings

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
ADDRESS = "http://127.0.0.1:30000"
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("curl ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_work(server: Any, command: str) -> None:
    _, url, *options = shlex.split(command)
    assert url.startswith(ADDRESS)
    url = server.url + url.removeprefix(ADDRESS)
    answer = httpx.post(url, content=options[1]) if options else httpx.get(url)
    assert answer.status_code == 200, answer.text


def test_every_dialect_has_an_example() -> None:
    assert len(COMMANDS) == 10


@pytest.fixture(scope="module")
def client(launch: Any, starter_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a server with every route that there can be."""
    settings = ServerSettings(index_folder=str(tmp_path_factory.mktemp("indexes")))
    with launch(starter_dir, server=settings) as running, httpx.Client(base_url=running.url, timeout=60) as session:
        yield session


def test_the_table_names_every_route_and_no_other(client: httpx.Client) -> None:
    named: set[tuple[str, str]] = set()
    for line in PAGE.splitlines():
        method = ""
        cells = line.split("|")
        for found in re.findall(r"`(GET |POST |DELETE )?(/[^`]*)`", cells[1]) if line.startswith("| `") else []:
            method = found[0].strip() or method
            named.add((method, found[1]))
    documented = {
        (method.upper(), path)
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    unlisted = {("POST", "/embeddings"), ("POST", "/v1/score"), ("GET", "/docs"), ("GET", "/")}
    assert named == documented | unlisted
    for method, path in unlisted:
        answer = client.request(method, path, content="{}" if method == "POST" else None)
        assert answer.status_code in (200, 400)
