"""Half precision that overflows is computed again in fp32; what fails there too is an error, never null numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.engine.runner import Runner
from farthing.engine.weights.load import LoadedModel, load_model, load_weights
from farthing.models.synth.checkpoint import find_shape, write_synthetic

TEXTS = [[5, 6, 7, 151643], [9, 151643], [*range(100, 150), 151643]]


def with_scaled_up_projection(path: Path, factor: float) -> Path:
    write_synthetic(find_shape("qwen3-tiny"), path)
    tensors = load_file(path / "model.safetensors")
    tensors["layers.1.mlp.up_proj.weight"] *= factor
    save_file(tensors, path / "model.safetensors")
    return path


def in_fp16(path: Path) -> LoadedModel:
    """Computed in fp16 by torch, as on cards."""
    description = describe_model(path, EngineSettings(format="fp16", device="torch-cpu"))
    return load_weights(description.with_plan(replace(description.plan, dtype="fp16", residual_dtype="fp32")))


@pytest.mark.parametrize("per_token", [False, True])
def test_rows_that_overflow_in_fp16_are_computed_again_in_fp32(tmp_path: Path, per_token: bool) -> None:
    path = with_scaled_up_projection(tmp_path / "model", 20_000.0)
    output = Runner(in_fp16(path)).run(TEXTS, per_token)
    exact = Runner(load_model(path, EngineSettings(format="fp16"))).run(TEXTS, per_token)
    assert output.num_recomputed > 0
    assert not output.errors
    got, want = (np.concatenate(list(run.rows)) if per_token else run.rows for run in (output, exact))
    cosines = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
    assert cosines == pytest.approx(np.ones(len(got)), abs=1e-3)


def test_fp16_without_overflow_is_not_recomputed(tiny_qwen3: Path) -> None:
    output = Runner(in_fp16(tiny_qwen3)).run(TEXTS)
    exact = Runner(load_model(tiny_qwen3, EngineSettings(format="fp32"))).run(TEXTS)
    assert output.num_recomputed == 0
    assert output.rows == pytest.approx(exact.rows, abs=0.05)


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_a_row_that_fails_in_fp32_too_is_an_error_for_its_text_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model"
    write_synthetic(find_shape("qwen3-tiny"), path)
    tensors = load_file(path / "model.safetensors")
    tensors["embed_tokens.weight"][9] = torch.nan
    save_file(tensors, path / "model.safetensors")
    loaded = load_model(path, EngineSettings(format="fp32")) if name == "fp32" else in_fp16(path)
    output = Runner(loaded).run(TEXTS)
    assert list(output.errors) == [1]
    assert np.isfinite(output.rows[[0, 2]]).all()
    assert "fp32" in str(output.errors[1])
