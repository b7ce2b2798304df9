from __future__ import annotations

from pathlib import Path

import pytest

from farthing.cli.main import run


def test_a_model_is_written_and_no_bar_is_drawn_into_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["synth", "qwen3-tiny", str(tmp_path / "tiny")]) == 0
    told = capsys.readouterr()
    assert told.out.endswith(f" billion parameters to {tmp_path / 'tiny'}\n")
    assert told.err == ""
    assert (tmp_path / "tiny" / "config.json").is_file()


def test_a_place_in_use_is_the_callers_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert run(["synth", "qwen3-tiny", str(tmp_path)]) == 2
    assert "exists and is not an empty folder" in capsys.readouterr().err
