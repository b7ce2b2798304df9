from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import gpu
from gpu_parts.expected import EXPECTATIONS, expectation_lines
from gpu_parts.setting import Case, Setting, small_setting


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return small_setting(str(tmp_path_factory.mktemp("cache")))


SLOW = ("speed", "closeness", "peak")  # the command below runs the last too


@pytest.mark.parametrize(
    "section", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in gpu.SECTIONS]
)
def test_every_case_of_a_section_runs(section: str, setting: Setting) -> None:
    rows = dict(gpu.run_section(section, setting))
    assert rows
    assert {case: figures for case, figures in rows.items() if "error" in figures} == {}


def test_a_case_that_fails_says_so_and_the_next_one_runs(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> gpu.Figures:
        raise RuntimeError("no such card")

    monkeypatch.setitem(gpu.SECTIONS, "peak", lambda _: iter([Case("one", fails), Case("two", lambda: {"ms": 1.0})]))
    assert dict(gpu.run_section("peak", setting)) == {
        "one": {"error": "RuntimeError: no such card"},
        "two": {"ms": 1.0},
    }


def test_an_expectation_is_met_missed_or_not_measured() -> None:
    rows = {
        "speed / 0.6b bf16 resident": {"8x512 tokens/s": 100.0, "32x512 share": 0.5, "32x512 tokens/s": 1.0},
        "speed / 0.6b nf4 resident": {"8x512 tokens/s": 95.0},
    }
    lines = list(expectation_lines(rows))
    assert len(lines) == len(EXPECTATIONS)
    assert "0.6b nf4 / bf16 at 8x512: 0.95, wanted 0.92: met" in lines
    assert "0.6b bf16 share of the peak at 32x512: 0.50, wanted 0.55: MISSED" in lines
    assert "4b nf4 / bf16 at 8x512: not measured" in lines


def test_the_command_prints_a_row_a_case_and_one_json_line(tmp_path: Path) -> None:
    command = [sys.executable, gpu.__file__, "--small", "--sections", "peak", "--cache", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("| peak |") for line in lines) == len(json.loads(lines[-1])["rows"])
