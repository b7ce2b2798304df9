"""`farthing serve`: which model it takes, and what it says when it cannot start."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from farthing.cli.main import run
from farthing.cli.serve import MAX_ARENAS, serve


@pytest.mark.parametrize("flag", ["--model-path", "--model"])
def test_a_server_command_line_in_sglangs_words_is_understood(flag: str) -> None:
    line = [flag, "a", "--is-embedding", "--tp-size", "1", "--max-running-requests", "16", "--context-length", "512"]
    context = serve.make_context("serve", line)
    assert context.params["model_path"] == "a"


def test_the_help_lists_every_group_of_settings() -> None:
    shown = CliRunner().invoke(serve, ["--help-all"]).output
    for heading in ("Source settings", "Engine settings", "Serving settings", "Server settings"):
        assert heading in shown


def test_without_the_server_extra_its_name_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("farthing.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run(["serve", "starter"]) == 1
    assert "pip install 'farthing[server]'" in capsys.readouterr().err


SERVE_THREADS = """
import ctypes, json, sys, threading

from farthing.cli.main import run

run(["serve"])  # of no model: it ends at once
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(8)
def allocate():
    together.wait()
    libc.malloc(20_000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
@pytest.mark.parametrize(
    ("environment", "least", "most"),
    [({}, 1, MAX_ARENAS), ({"MALLOC_ARENA_MAX": "5"}, 2, 5), ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=5"}, 2, 5)],
)
def test_threads_share_few_heaps_unless_the_environment_says_how_many(
    tmp_path: Path, environment: dict[str, str], least: int, most: int
) -> None:
    subprocess.run(
        [sys.executable, "-c", SERVE_THREADS, str(tmp_path / "heaps")], env=os.environ | environment, check=True
    )
    assert least <= (tmp_path / "heaps").read_text().count("<heap ") <= most
