"""`farthing serve`: which model it takes, and what it says when it cannot start."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from farthing.cli.main import run
from farthing.cli.serve import serve


@pytest.mark.parametrize("flag", ["--model-path", "--model"])
def test_a_server_command_line_in_sglangs_words_is_understood(flag: str) -> None:
    line = [flag, "a", "--is-embedding", "--tp-size", "1", "--max-running-requests", "16", "--context-length", "512"]
    context = serve.make_context("serve", line)
    assert context.params["model_path"] == "a"


def test_the_help_lists_every_group_of_settings() -> None:
    shown = CliRunner().invoke(serve, ["--help"]).output
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
