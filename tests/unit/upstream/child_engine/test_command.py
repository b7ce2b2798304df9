"""Command lines of other engines, word for word."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from farthing.core.errors import SettingsError
from farthing.core.settings import UpstreamSettings
from farthing.upstream.child_engine.command import engine_command


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("sglang", "vllm"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_sglang_is_told_what_it_needs(installed: Path) -> None:
    settings = UpstreamSettings(engine="sglang", engine_memory_fraction=0.5, engine_args='--tp 2 --x "a b"')
    assert engine_command(settings, Path("/m"), "name", 8001, 8192) == [
        str(installed / "sglang"), "serve", "--model-path", "/m", "--is-embedding",
        "--json-model-override-args", '{"is_matryoshka": true}', "--context-length", "8192",
        "--mem-fraction-static", "0.5", "--served-model-name", "name", "--host", "127.0.0.1", "--port", "8001",
        "--tp", "2", "--x", "a b",
    ]  # fmt: skip


def test_vllm_is_told_what_it_needs_and_no_more(installed: Path) -> None:
    settings = UpstreamSettings(engine="vllm", upstream_model="theirs")
    assert engine_command(settings, Path("/m"), "name", 8001, None) == [
        str(installed / "vllm"), "serve", "/m", "--runner", "pooling", "--convert", "embed",
        "--hf-overrides", '{"is_matryoshka": true}', "--served-model-name", "theirs",
        "--host", "127.0.0.1", "--port", "8001",
    ]  # fmt: skip


def test_what_is_missing_or_unreadable_is_said(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="engine_args cannot be read: No closing quotation"):
        engine_command(UpstreamSettings(engine="vllm", engine_args='"'), Path("/m"), "name", 1, None)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(SettingsError, match="pip install vllm"):
        engine_command(UpstreamSettings(engine="vllm"), Path("/m"), "name", 1, None)


def test_upstream_and_engine_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="given together"):
        UpstreamSettings(upstream="http://host/v1", engine="vllm")
