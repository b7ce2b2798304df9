"""`farthing plan`, read aloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from farthing.cli.plan import plan
from farthing.cli.planning import plan_model, report_lines
from farthing.core.errors import DoesNotFitError, ModelNotFoundError
from farthing.core.settings import EngineSettings, SourceSettings


def invoke(*args: object) -> Result:
    return CliRunner().invoke(plan, [*map(str, args), "--device", "cpu"])


def planned(*args: object) -> dict[str, Any]:
    result = invoke(*args, "--json")
    assert result.exception is None, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_shape_is_planned_without_any_file() -> None:
    result = invoke("qwen3-4b", "--memory", "2GB", "--context-length", "8192")
    assert result.exception is None
    lines = result.stdout.splitlines()
    assert lines[0] == "model   qwen3-4b: 36 layers of width 2,560, stored in bf16"
    assert lines[2] == "memory  1,907 MiB (2,000,000,000 bytes)"
    rows = {tuple(line.split()[:2]): line for line in lines}
    assert " no " in rows["int8", "resident"]
    assert " yes " in rows["int8", "disk"]
    sentence = next(line for line in lines if " is chosen: " in line)
    assert sentence.startswith("int8, read from disk for each batch, is chosen: ")
    assert sentence.endswith("(3,528 MiB), because they do not fit 1,907 MiB together.")


def test_every_option_adds_up_and_the_choice_fits() -> None:
    found = planned("qwen3-0.6b", "--memory", "1500MiB")
    for option in found["options"]:
        assert option["total_bytes"] == sum(entry["bytes"] for entry in option["ledger"])
        assert option["fits"] is (option["total_bytes"] <= found["budget_bytes"])
    assert found["choice"]["total_bytes"] <= found["budget_bytes"] == 1500 * 2**20


def test_a_folder_is_planned_as_it_would_be_served(tiny_qwen3: Path) -> None:
    found = planned(tiny_qwen3, "--memory", "none", "--context-length", "128")
    assert found["budget_bytes"] is None
    assert (found["choice"]["format"], found["choice"]["residency"]) == ("int8", "resident")
    assert {(option["format"], option["residency"]) for option in found["options"]} >= {
        ("int8", "disk"), ("int8", "resident"), ("nf4", "disk")
    }  # fmt: skip


def test_where_nothing_fits_every_option_is_shown_and_then_the_error() -> None:
    result = invoke("qwen3-8b", "--memory", "300MB")
    assert isinstance(result.exception, DoesNotFitError)
    assert " yes " not in result.stdout
    assert "int8" in result.stdout


def test_a_model_that_no_source_has_is_not_planned(tmp_path: Path) -> None:
    assert isinstance(invoke(tmp_path / "nothing").exception, ModelNotFoundError)
    assert isinstance(invoke("no/model", "--offline", "--cache-dir", tmp_path).exception, ModelNotFoundError)


@pytest.mark.parametrize("width", [80, 100])
def test_on_a_terminal_the_table_fits_its_width(width: int) -> None:
    found = plan_model("qwen3-4b", SourceSettings(), EngineSettings(device="cpu", memory="6GB"))
    lines = list(report_lines(found, width))
    assert max(map(len, lines)) <= width
    assert any(line.startswith("(What the bytes of each row are made of: --json") for line in lines)
    assert "shared prefixes" in " ".join(lines[-8:])  # of the one that is chosen
    wide = list(report_lines(found, 300))
    assert len(next(line for line in wide if line.startswith("format"))) > 150


def test_what_would_be_exact_is_said() -> None:
    found = plan_model("qwen3-0.6b", SourceSettings(), EngineSettings(device="cpu", memory="none"))
    assert any("int8, resident, is chosen" in line for line in report_lines(found))
    assert any("--format fp32" in line for line in report_lines(found))


def test_a_misspelt_shape_is_named_without_asking_a_hub() -> None:
    error = invoke("qwen3-5b").exception
    assert isinstance(error, ModelNotFoundError)
    assert str(error).startswith("There is no shape 'qwen3-5b'. Did you mean 'qwen3-8b'?\nShapes, with synthetic")


def test_without_a_network_it_is_said_what_can_be_planned(tmp_path: Path) -> None:
    variables = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "farthing", "plan", "Qwen/Qwen3-Embedding-0.6B"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=120)
    assert done.returncode == 1
    assert "is not on this machine, and the Hugging Face hub (http://127.0.0.1:9) does not have it" in done.stderr
    assert "give its folder as a path" in done.stderr
    assert "Shapes, with synthetic weights: qwen3-tiny," in done.stderr
