"""Narrow models of both families."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from farthing.models.synth.checkpoint import find_shape, write_synthetic


@pytest.fixture(params=["qwen3", "bert"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "qwen3":
        write_synthetic(replace(find_shape("qwen3-tiny"), hidden=128, vocab=500), tmp_path)
        return tmp_path
    config = BertConfig(
        vocab_size=500, hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=192
    )
    torch.manual_seed(3)
    bert = BertModel(config)
    for parameter in bert.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.1)
    bert.save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def qwen3_tokenizer() -> Path:
    """Qwen3's own tokenizer.json, in the folder that FARTHING_TEST_MODELS names."""
    path = Path(os.environ.get("FARTHING_TEST_MODELS") or "/nonexistent") / "qwen3-base-tokenizer"
    if not (path / "tokenizer.json").is_file():
        pytest.skip("set FARTHING_TEST_MODELS to a folder that holds qwen3-base-tokenizer")
    return path
