"""BERT, RoBERTa and XLM-R with small seeded weights against transformers, on packed token ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import assert_same_vectors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from farthing.core.settings import EngineSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model

SIZES = {
    "vocab_size": 500,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 96,
    "max_position_embeddings": 130,
}
ROBERTA = {**SIZES, "type_vocab_size": 1, "pad_token_id": 1}
MAKERS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SIZES)),
    "bert with tanh gelu": lambda: BertModel(BertConfig(**SIZES, hidden_act="gelu_new")),
    "bert saved with its language-model head": lambda: BertForMaskedLM(BertConfig(**SIZES)),
    "roberta": lambda: RobertaModel(RobertaConfig(**ROBERTA)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**ROBERTA)),
}


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", MAKERS)
def test_equals_transformers(kind: str, pooling: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = MAKERS[kind]().eval()
    for parameter in model.parameters():  # fresh models have zero biases and unit gains, which would hide mistakes
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.1)
    model.save_pretrained(tmp_path)
    write_pooling(tmp_path, pooling)
    texts = [np.random.default_rng(n).integers(5, 500, size=n).tolist() for n in (1, 2, 9, 9, 30, 128)]
    runner = Runner(load_model(tmp_path, EngineSettings(format="fp32")))
    assert_same_vectors(unit(runner.run(texts).rows), unit(reference(model, texts, pooling)))
    for text, rows in zip(texts, runner.run(texts, per_token=True).rows, strict=True):
        assert_same_vectors(unit(rows), unit(hidden_states(model, text)))


def write_pooling(path: Path, pooling: str) -> None:
    (path / "modules.json").write_text(
        json.dumps([{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1_Pooling"}])
    )
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": pooling}))


def reference(model: PreTrainedModel, texts: list[list[int]], pooling: str) -> np.ndarray:
    hidden = [hidden_states(model, text) for text in texts]
    return np.stack([rows[0] if pooling == "cls" else rows.mean(0) for rows in hidden])


def hidden_states(model: PreTrainedModel, text: list[int]) -> np.ndarray:
    with torch.inference_mode():
        rows: np.ndarray = getattr(model, "bert", model)(torch.tensor([text])).last_hidden_state[0].numpy()
    return rows


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
