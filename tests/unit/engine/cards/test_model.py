"""What torch computes on a CPU as it does on cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from farthing.core.errors import OutOfMemoryError
from farthing.core.settings import EngineSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from farthing.models.torch_pass.run import TorchPass

TEXTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 60]]


@pytest.fixture
def runner(qwen3: Any) -> Runner:
    return Runner(load_model(qwen3.path, EngineSettings(device="torch-cpu", format="fp32", num_threads=1)))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
    ids=["MemoryError", "card", "host"],
)
def test_memory_that_torch_does_not_find_is_told_by_its_name(
    runner: Runner, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def layer(*_: object) -> None:
        raise error

    monkeypatch.setattr(TorchPass, "layer", layer)
    with pytest.raises(OutOfMemoryError, match="A batch of 3 texts, 10 tokens, needs more memory than there is"):
        runner.run(TEXTS)


def test_other_errors_of_torch_stay_what_they_are(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def layer(*_: object) -> None:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(TorchPass, "layer", layer)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        runner.run(TEXTS)


@pytest.mark.parametrize("residency", ["resident", "disk"])
@pytest.mark.parametrize("folder", ["qwen3", "bert"])
def test_torch_and_the_native_kernels_compute_the_same(
    folder: str, residency: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(folder).path
    found = [
        Runner(load_model(path, EngineSettings(device=device, format="fp32", residency=residency))).run(TEXTS).rows
        for device in ("cpu", "torch-cpu")
    ]
    np.testing.assert_allclose(*found, atol=1e-4)
