"""Hostile requests against a server process: nobody else gets an error or a wrong vector, and it goes on.

The table of attacks is the benchmark's, which also measures how long others wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import attacks

MEMORY, MOST_MIB = "1GB", 1500
# Far above what is measured, and far below what any of these took before it had a limit.
MOST_HEALTH_MS = 2000
# Of the drain, and of what a process that does not end by itself is given.
MOST_STOP_S = 15
# That take longer than some seconds by themselves.
LONG = ("8,192 texts", "a document of 5 MB", "30 bodies that do not end", "60 answers that nobody reads")
# Of the others every 18th is tried by default, and all with --slow: an attack takes five to ten seconds.
TRIED = [name for name in attacks.ATTACKS if name not in LONG][::18]
STOPPED = ("joiners and letters in turn", "nested Markdown", "8,192 texts", "30 bodies that do not end")


attacks.SETTLE_S = 0.1  # a benchmark looks for longer before and after


@pytest.fixture(scope="module")
def server(starter_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[attacks.Server]:
    started = attacks.Server(str(starter_dir), tmp_path_factory.mktemp("attacked"), MEMORY)
    started.fill_index()
    yield started
    started.close()


@pytest.mark.parametrize(
    "name", [name if name in TRIED else pytest.param(name, marks=pytest.mark.slow) for name in attacks.ATTACKS]
)
def test_an_attack_harms_nobody_else(name: str, server: attacks.Server) -> None:
    row = server.attack(name)
    assert not attacks.is_bad(row), row
    assert row["texts"] > 0
    assert row["refused"] == 0, row
    assert row["health_ms"] < MOST_HEALTH_MS
    assert row["peak_mib"] < MOST_MIB


@pytest.mark.slow
@pytest.mark.parametrize("name", STOPPED)
def test_a_server_ends_in_the_middle_of_an_attack(name: str, starter_dir: Path, tmp_path: Path) -> None:
    server = attacks.Server(str(starter_dir), tmp_path, MEMORY)
    try:
        server.fill_index()
        assert server.attack_and_stop(name) < MOST_STOP_S
    finally:
        server.close()
