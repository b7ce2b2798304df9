"""int8 against fp32 on the same checkpoint: close, the same in any company, and untroubled by outlier channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import assert_same_vectors
from safetensors.torch import load_file, save_file
from texts import SAMPLES

from farthing import Embedder
from farthing.core.settings import EngineSettings
from farthing.engine import describe
from farthing.engine.cards import model as torch_model
from farthing.engine.runner import Runner
from farthing.engine.weights.convert import ConvertedTensors
from farthing.engine.weights.load import load_model
from farthing.models.synth.checkpoint import find_shape, write_synthetic
from farthing.models.torch_pass.attention import attend_runs
from farthing.models.torch_pass.start import TorchBatch

TEXTS = [[*np.random.default_rng(n).integers(0, 150_000, n).tolist(), 151643] for n in (0, 1, 5, 40, 40, 200, 700)]


def vectors(path: Path, name: str, device: str = "cpu", texts: list[list[int]] = TEXTS) -> np.ndarray:
    output = Runner(load_model(path, EngineSettings(format=name, device=device))).run(texts)
    assert not output.errors
    return output.rows / np.linalg.norm(output.rows, axis=1, keepdims=True)


@pytest.fixture(params=["cpu", "torch-cpu"])
def device(request: pytest.FixtureRequest) -> str:
    """With the native kernels, and with torch."""
    return str(request.param)


def test_qwen3_is_close_to_fp32(tiny_qwen3: Path, device: str) -> None:
    cosines = (vectors(tiny_qwen3, "int8", device) * vectors(tiny_qwen3, "fp32")).sum(1)
    assert cosines.min() > 0.998


@pytest.fixture(scope="module")
def outliers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "outliers"
    write_synthetic(replace(find_shape("qwen3-tiny"), hidden=512), path, outliers=True)
    return path


def test_outlier_channels_cost_little(outliers: Path, device: str) -> None:
    cosines = (vectors(outliers, "int8", device) * vectors(outliers, "fp32")).sum(1)
    assert cosines.min() > 0.995


def gains_as_they_are(tensors: ConvertedTensors, layer: int) -> dict[str, np.ndarray]:
    layout = tensors._layout
    return {part.name: tensors._vector(layout.prefix(layer), part) for part in layout.vectors}


@pytest.mark.parametrize("left_out", ["rotation", "rotation and folding"])
def test_they_would_cost_much_untreated(outliers: Path, left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "Rotation", lambda _: None)
    if left_out == "rotation and folding":
        monkeypatch.setattr(ConvertedTensors, "_gain", lambda *_: None)
        monkeypatch.setattr(ConvertedTensors, "vectors", gains_as_they_are)
    cosines = (vectors(outliers, "int8") * vectors(outliers, "fp32")).sum(1)
    assert 0.5 < cosines.min() < 0.98


def test_native_and_torch_round_alike_but_for_attention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels' attention multiplies bf16, torch's fp32. With the same rounding there, what is left are values on
    the edge of two int8 steps."""

    def attend_bf16(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, batch: TorchBatch, causal: bool) -> torch.Tensor:
        return attend_runs(*(x.bfloat16().float() for x in (q, k, v)), batch, causal)

    write_synthetic(replace(find_shape("qwen3-tiny"), num_layers=1), tmp_path)
    native = vectors(tmp_path, "int8")
    monkeypatch.setattr(torch_model, "attend_runs", attend_bf16)
    assert (native * vectors(tmp_path, "int8", "torch-cpu")).sum(1).min() > 0.9998


def test_torchs_vectors_are_close_to_the_kernels(tiny_qwen3: Path) -> None:
    assert (vectors(tiny_qwen3, "int8") * vectors(tiny_qwen3, "int8", "torch-cpu")).sum(1).min() > 0.998


def test_text_alone_equals_the_text_in_a_batch(tiny_qwen3: Path, device: str) -> None:
    batched = vectors(tiny_qwen3, "int8", device)
    alone = np.concatenate([vectors(tiny_qwen3, "int8", device, [text]) for text in TEXTS])
    assert_same_vectors(alone, batched, cosine=0.999999, distance=1e-3)


def encode(path: Path, name: str, texts: list[str], device: str = "cpu") -> np.ndarray:
    with Embedder(str(path), format=name, device=device, truncate=True) as embedder:
        return embedder.encode(texts)


def test_minilm_is_close_to_fp32(starter_dir: Path, device: str) -> None:
    cosines = (encode(starter_dir, "int8", SAMPLES, device) * encode(starter_dir, "fp32", SAMPLES)).sum(1)
    assert cosines.min() > 0.999  # without rotation 0.996


def test_e5_is_close_to_fp32(e5_dir: Path, device: str) -> None:
    cosines = (encode(e5_dir, "int8", SAMPLES, device) * encode(e5_dir, "fp32", SAMPLES)).sum(1)
    assert cosines.min() > 0.9995


def test_native_bert_layers_equal_the_torch_pass(starter_dir: Path) -> None:
    native, by_torch = (encode(starter_dir, "int8", SAMPLES, device) for device in ("cpu", "torch-cpu"))
    assert_same_vectors(native, by_torch, cosine=0.9995, distance=0.04)


def test_a_bert_text_alone_equals_the_text_in_a_batch(starter_dir: Path, device: str) -> None:
    alone = np.concatenate([encode(starter_dir, "int8", [text], device) for text in SAMPLES[:6]])
    assert_same_vectors(alone, encode(starter_dir, "int8", SAMPLES, device)[:6], cosine=0.99999, distance=5e-3)


def test_nan_in_the_weights_is_an_error_for_its_text_alone(tiny_qwen3: Path, tmp_path: Path, device: str) -> None:
    path = tmp_path / "model"
    write_synthetic(find_shape("qwen3-tiny"), path)
    tensors = load_file(path / "model.safetensors")
    tensors["embed_tokens.weight"][9] = float("nan")
    save_file(tensors, path / "model.safetensors")
    output = Runner(load_model(path, EngineSettings(format="int8", device=device))).run([[5, 151643], [9, 151643]])
    assert list(output.errors) == [1]
