"""Quantising that breaks off, however it does, leaves no folder that loads, and can be given again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.engine.weights.load import load_model
from farthing.serving.quantising.quantise import partial_folder, quantise_model


def quantise(path: Path, out: Path, stop_at: int | None = None, name: str = "int8") -> None:
    def stop(_: object) -> None:
        nonlocal written
        written += 1
        if written == stop_at:
            raise KeyboardInterrupt

    written = 0
    quantise_model(str(path), out, SourceSettings(), format=name, measure=False, on_tensor=stop)


@pytest.mark.parametrize(("name", "stop_at"), [("int8", 1), ("int8", 10), ("int8", 34), ("nf4", 6)])
def test_an_interrupt_leaves_nothing(tiny_qwen3: Path, tmp_path: Path, name: str, stop_at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        quantise(tiny_qwen3, tmp_path / "out", stop_at, name)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_leaves_no_model_and_the_next_one_succeeds(tiny_qwen3: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from farthing.core.settings import SourceSettings\n"
        "from farthing.serving.quantising.quantise import quantise_model\n"
        "quantise_model(sys.argv[1], Path(sys.argv[2]), SourceSettings(), format='int8', measure=False,\n"
        "               on_tensor=lambda spec: os.kill(os.getpid(), signal.SIGKILL) if 'layers.2' in spec.name else 0)"
    )
    killed = subprocess.run([sys.executable, "-c", program, tiny_qwen3, tmp_path / "out"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [folder.name for folder in tmp_path.iterdir()] == [".out.partial"]
    assert not (tmp_path / ".out.partial" / "farthing.json").exists()
    quantise(tiny_qwen3, tmp_path / "out")
    assert [folder.name for folder in tmp_path.iterdir()] == ["out"]
    assert load_model(tmp_path / "out", EngineSettings()).plan.format.name == "int8"


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_somebody_else_put_in_the_way_stays(tiny_qwen3: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    if kind == "folder":
        (tmp_path / "mine").rename(tmp_path / ".out.partial")
    elif kind == "file":
        (tmp_path / ".out.partial").write_text("mine")
    else:
        (tmp_path / ".out.partial").symlink_to(tmp_path / "mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SettingsError, match="in the way"):
        quantise(tiny_qwen3, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_one_process_writes_a_folder_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with partial_folder(out), pytest.raises(SettingsError, match="Another process"), partial_folder(out):
        pass
    assert list(tmp_path.iterdir()) == []
