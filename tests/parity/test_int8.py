"""int8 against fp32 on the same checkpoint: close, the same in any company, and untroubled by outlier channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference import assert_same_vectors
from safetensors.torch import load_file, save_file
from texts import SAMPLES

from farthing import Embedder
from farthing.core.settings import EngineSettings
from farthing.engine import runner
from farthing.engine.load import load_model
from farthing.engine.runner import Runner
from farthing.models.synth import find_shape, write_synthetic
from farthing.quant import int8

TEXTS = [[*np.random.default_rng(n).integers(0, 150_000, n).tolist(), 151643] for n in (0, 1, 5, 40, 40, 200, 700)]


def vectors(path: Path, name: str, texts: list[list[int]] = TEXTS) -> np.ndarray:
    output = Runner(load_model(path, EngineSettings(format=name))).run(texts)
    assert not output.errors
    return output.rows / np.linalg.norm(output.rows, axis=1, keepdims=True)


@pytest.fixture(params=["native", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the native kernels, and as where no compiler was."""
    if request.param == "torch":
        monkeypatch.setattr(int8, "native_kernels", lambda: None)
        monkeypatch.setattr(runner, "native_kernels", lambda: None)
    elif int8.native_kernels() is None:
        pytest.skip("the native kernels were not built (no C++ compiler)")
    return str(request.param)


def test_qwen3_is_close_to_fp32(tiny_qwen3: Path, way: str) -> None:
    cosines = (vectors(tiny_qwen3, "int8") * vectors(tiny_qwen3, "fp32")).sum(1)
    assert cosines.min() > 0.998


def test_outlier_channels_cost_nothing(tiny_qwen3: Path, tmp_path: Path, way: str) -> None:
    write_synthetic(find_shape("qwen3-tiny"), tmp_path / "outliers", outliers=True)
    cosines = (vectors(tmp_path / "outliers", "int8") * vectors(tiny_qwen3, "fp32")).sum(1)
    assert cosines.min() > 0.998


def test_text_alone_equals_the_text_in_a_batch(tiny_qwen3: Path, way: str) -> None:
    batched = vectors(tiny_qwen3, "int8")
    alone = np.concatenate([vectors(tiny_qwen3, "int8", [text]) for text in TEXTS])
    assert_same_vectors(alone, batched, cosine=0.999999, distance=1e-3)


def test_minilm_is_close_to_fp32(starter_dir: Path, way: str) -> None:
    with Embedder(str(starter_dir), format="int8", truncate=True) as embedder:
        got = embedder.encode(SAMPLES)
    with Embedder(str(starter_dir), format="fp32", truncate=True) as embedder:
        want = embedder.encode(SAMPLES)
    assert (got * want).sum(1).min() > 0.99


def test_nan_in_the_weights_is_an_error_for_its_text_alone(tiny_qwen3: Path, tmp_path: Path, way: str) -> None:
    path = tmp_path / "model"
    write_synthetic(find_shape("qwen3-tiny"), path)
    tensors = load_file(path / "model.safetensors")
    tensors["embed_tokens.weight"][9] = float("nan")
    save_file(tensors, path / "model.safetensors")
    output = Runner(load_model(path, EngineSettings(format="int8"))).run([[5, 151643], [9, 151643]])
    assert list(output.errors) == [1]
