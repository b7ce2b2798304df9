"""Models that are calibrated on some texts are nearer to the exact ones on others, in the memory that is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from farthing.core.errors import NonFiniteError
from farthing.core.settings import EngineSettings
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.runner import Runner
from farthing.engine.weights.calibration_memory import MAX_INPUTS_UNASKED, calibration_problem
from farthing.engine.weights.load import load_model
from farthing.engine.weights.write_folder import write_quantised
from farthing.models.synth.checkpoint import find_shape, write_synthetic

VOCAB = 90
LIBRARIES_BYTES = 32 * 2**20  # what torch's own scratch may come to


def texts(count: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(4, VOCAB, rng.integers(2, 60)).tolist() for _ in range(count)]


def describe(path: Path, name: str = "nf4") -> ModelDescription:
    return describe_model(path, EngineSettings(format=name, device="cpu", memory="none"))


def rows(path: Path, name: str) -> np.ndarray:
    return Runner(load_model(path, EngineSettings(format=name, device="cpu", min_fidelity=0))).run(texts(40, 1)).rows


def quantised_rows(path: Path, out: Path, calibration: list[list[int]]) -> np.ndarray:
    write_quantised(describe(path), out, source="", farthing_version="", calibration=calibration).write(out)
    return rows(out, "auto")


def mean_cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (one, other))
    return float((one * other).sum(1).mean())


def spoil(folder: Any, name: str) -> Path:
    tensors = folder.tensors
    tensors[name][0] = torch.nan
    return folder.save(tensors)


@pytest.mark.parametrize("model", ["wide_bert", "bert", "qwen3"])
def test_a_calibrated_model_is_nearer_to_the_exact_one_on_texts_it_was_not_calibrated_with(
    model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(model).path
    exact = rows(path, "fp32")
    nearest = quantised_rows(path, tmp_path / "nearest", [])
    calibrated = quantised_rows(path, tmp_path / "calibrated", texts(60, 0))
    assert 1 - mean_cosine(calibrated, exact) < 0.8 * (1 - mean_cosine(nearest, exact))


def test_an_input_that_is_no_number_is_said(qwen3: Any, tmp_path: Path) -> None:
    path = spoil(qwen3, "layers.1.input_layernorm.weight")
    with pytest.raises(NonFiniteError, match="before o of layer 1"):
        write_quantised(describe(path), tmp_path / "out", source="", farthing_version="", calibration=texts(9, 0))


def test_a_format_that_cannot_be_calibrated_says_so(bert: Any) -> None:
    problem = calibration_problem(describe(bert.path, "int8"), 100, 10**12, is_asked=True)
    assert problem == "int8 rounds to nearest alone: it cannot be calibrated."


def test_short_memory_is_said_with_what_it_takes(bert: Any) -> None:
    assert calibration_problem(describe(bert.path), 100, 10**9, is_asked=False) is None
    problem = calibration_problem(describe(bert.path), 100, 1000, is_asked=True)
    assert problem is not None
    assert problem.endswith("MiB, and 0 MiB are free.")


def test_wide_matrices_are_calibrated_only_when_asked_for(tmp_path: Path) -> None:
    shape = replace(find_shape("qwen3-tiny"), vocab=VOCAB, num_layers=1, intermediate=MAX_INPUTS_UNASKED + 64)
    write_synthetic(shape, tmp_path)
    problem = calibration_problem(describe(tmp_path), 100, 10**12, is_asked=False)
    assert problem is not None
    assert problem.startswith("nf4 is not calibrated unasked for matrices of 4,160 inputs, more than 4,096:")
    assert calibration_problem(describe(tmp_path), 100, 10**12, is_asked=True) is None


MEASURE = """
import json, sys
from pathlib import Path
from typing import Any
from farthing.core.settings import EngineSettings
from farthing.engine.weights.calibration_memory import calibrating_bytes
from farthing.engine.describe import describe_model
from farthing.engine.weights.write_folder import write_quantised

def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

small, large, out = map(Path, sys.argv[1:])
settings = EngineSettings(format="nf4", device="cpu", memory="none", num_threads=2)
texts = [[1 + (place * 7 + text) % 80 for place in range(64)] for text in range(32)]
for path in (small, large):  # the first brings in what the process needs whatever the model
    description, before = describe_model(path, settings), held("VmRSS:")
    write_quantised(description, out / path.name, source="", farthing_version="", calibration=texts)
print(json.dumps([held("VmHWM:") - before, calibrating_bytes(description, 32 * 64)]))
"""


def test_memory_is_that_of_one_layers_rows_and_one_matrix(qwen3: Any, tmp_path: Path) -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("no /proc/self/status on this system")
    shape = replace(find_shape("qwen3-tiny"), vocab=VOCAB, num_layers=6, hidden=512, intermediate=1536)
    write_synthetic(shape, tmp_path / "large")
    command = [sys.executable, "-c", MEASURE, str(qwen3.path), str(tmp_path / "large"), str(tmp_path / "out")]
    # Each tensor in pages of its own: holes of the heap, which differ from run to run, are not what is counted here.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    taken, counted = json.loads(done.stdout)
    assert 0.4 * counted < taken < counted + LIBRARIES_BYTES
