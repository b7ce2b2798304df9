from __future__ import annotations

import io
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from farthing.checkpoint.manifest import read_manifest
from farthing.cli.main import run
from farthing.models.synth.checkpoint import find_shape, write_synthetic


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    write_synthetic(replace(find_shape("qwen3-tiny"), num_layers=1), path)
    return path


def test_it_says_where_the_folder_is_and_how_close_it_is(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["quantize", str(model), str(tmp_path / "out")]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["path"] == str(tmp_path / "out")
    assert "MiB in 8 files" in lines["size"]
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.closeness is not None
    assert lines["closeness"].startswith(f"mean cosine {manifest.closeness['cosine_mean']:.4f}, least ")


def test_measuring_can_be_left_out(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quantize", str(model), str(tmp_path / "out"), "--no-measure"]) == 0
    assert "closeness  not measured" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_writing_and_measuring_have_a_bar_each_on_a_terminal_and_none_elsewhere(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["quantize", str(model), str(tmp_path / "out")]) == 0
    told = capsys.readouterr().err
    assert "Measuring how close" not in told
    assert "\r" not in told
    monkeypatch.setattr(import_module("farthing.cli.quantize"), "SHOWN_AFTER_S", 0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert run(["quantize", str(model), str(tmp_path / "again")]) == 0
    told = sys.stderr.getvalue()
    # A bar draws itself again at times of its own choosing, always on the same line.
    assert len([line for line in told.split("\n") if "Measuring how close: 100%" in line]) == 1
    assert f"{model}: " in told


def test_it_says_what_nf4_was_calibrated_with(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ['{"text": "A wren sings."}', '{"text": ', '{"text": "A farthing is a coin."}']
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    command = ["quantize", str(model), str(tmp_path / "out"), "--format", "nf4", "--no-measure"]
    assert run([*command, "--calibration", str(tmp_path / "texts.jsonl")]) == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.calibration is not None
    num_tokens = manifest.calibration["num_tokens"]
    assert manifest.calibration == {"texts": "texts.jsonl", "num_texts": 2, "num_tokens": num_tokens}
    assert f"calibrated texts.jsonl, 2 texts, {num_tokens} tokens" in capsys.readouterr().out


def test_a_file_of_texts_that_is_not_there_is_the_callers_fault(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(model), str(tmp_path / "out"), "--format", "nf4", "--calibration", "none.txt"]
    assert run(command) == 2
    assert "none.txt does not exist" in capsys.readouterr().err


def test_a_place_in_use_is_the_callers_fault(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quantize", str(model), str(model)]) == 2
    assert "exists and is not an empty folder" in capsys.readouterr().err
