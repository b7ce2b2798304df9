"""Small checkpoints of both families, to be spoilt as a test likes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from farthing.checkpoint.writer import TensorSpec, write_tensors
from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.engine.weights.write_folder import write_quantised
from farthing.models.families.bert import BertFamily
from farthing.models.synth.checkpoint import find_shape, write_synthetic

BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 90,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 80,
    "max_position_embeddings": 70,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "type_vocab_size": 2,
}


class Folder:
    """A checkpoint in one file whose config and tensors can be changed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        return load_file(self.path / "model.safetensors")

    def save(self, tensors: dict[str, torch.Tensor]) -> Path:
        save_file(tensors, self.path / "model.safetensors")
        return self.path

    def configure(self, **changes: Any) -> Path:
        file = self.path / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
        return self.path


@pytest.fixture
def qwen3(tmp_path: Path) -> Folder:
    """Stored in bf16."""
    write_synthetic(replace(find_shape("qwen3-tiny"), vocab=200, num_layers=3), tmp_path / "qwen3")
    return Folder(tmp_path / "qwen3")


@pytest.fixture
def quantised_qwen3(tmp_path: Path, qwen3: Folder) -> Folder:
    """The same in int8."""
    description = describe_model(qwen3.path, EngineSettings(format="int8", device="cpu", memory="none", min_fidelity=0))
    out = tmp_path / "quantised"
    write_quantised(description, out, source="qwen3", farthing_version="0").write(out)
    return Folder(out)


@pytest.fixture
def bert(tmp_path: Path) -> Folder:
    """Stored in fp32."""
    write_bert(tmp_path / "bert", BERT)
    return Folder(tmp_path / "bert")


@pytest.fixture
def wide_bert(tmp_path: Path) -> Folder:
    """As `bert`, so wide that its inputs are rotated."""
    write_bert(tmp_path / "wide", {**BERT, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 192})
    return Folder(tmp_path / "wide")


def write_bert(path: Path, config: dict[str, Any]) -> None:
    family, random, dtype = BertFamily(), np.random.default_rng(1), np.dtype(np.float32)
    tensors = [
        TensorSpec(name, shape, dtype, lambda shape=shape: random.normal(0, 0.2, shape).astype(dtype))  # type: ignore[misc]
        for name, shape in family.layout(family.spec(config)).tensors()
    ]
    write_tensors(path, tensors)
    (path / "config.json").write_text(json.dumps(config))
