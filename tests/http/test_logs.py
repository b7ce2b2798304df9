"""What a server process writes to standard error, by its settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

PRIVATE = "a private matter"


def log_of(folder: Path, *flags: str) -> list[str]:
    """The log of a server that answers one request."""
    command = [sys.executable, "-m", "farthing", "serve", str(folder), "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout is not None
            line = next(line for line in popen.stdout if line.startswith("Listening on "))
            next(line for line in popen.stdout if line.strip().startswith("try "))
            url = line.split()[2].rstrip(",")
            assert httpx.post(f"{url}/v1/embeddings", json={"input": [PRIVATE]}).status_code == 200
        finally:
            popen.terminate()
        _, errors = popen.communicate(timeout=30)
        assert popen.returncode == 0
    return errors.splitlines()


def test_json_lines_are_json_and_hold_no_text(tiny_qwen3: Path) -> None:
    lines = log_of(tiny_qwen3, "--log-format", "json")
    entries = [json.loads(line) for line in lines]
    (request,) = [entry for entry in entries if entry["msg"] == "request"]
    assert (request["path"], request["status"], request["texts"]) == ("/v1/embeddings", 200, 1)
    assert not [line for line in lines if PRIVATE in line]


def test_the_access_line_can_be_left_out(tiny_qwen3: Path) -> None:
    lines = log_of(tiny_qwen3, "--no-access-log")
    assert lines
    assert not [line for line in lines if "/v1/embeddings" in line]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_texts_are_logged_for_who_asks_and_the_log_says_so_first(tiny_qwen3: Path, log_format: str) -> None:
    lines = log_of(tiny_qwen3, "--log-texts", "--log-format", log_format)
    (warned,) = [index for index, line in enumerate(lines) if "texts of all requests go into the log" in line]
    (logged,) = [index for index, line in enumerate(lines) if PRIVATE in line]
    assert warned < logged
