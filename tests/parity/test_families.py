"""Every family with small seeded weights against transformers in fp32, on packed token ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import assert_same_vectors
from safetensors import safe_open
from transformers import (
    CamembertConfig,
    CamembertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    EuroBertConfig,
    EuroBertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    GteConfig,
    GteModel,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    NomicBertConfig,
    NomicBertModel,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Model,
)

from farthing.core.settings import EngineSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model

SIZES: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 600,
}
GROUPED: dict[str, Any] = {**SIZES, "num_key_value_heads": 2}
SPECIAL = {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "mask_token_id": 4}
DISTIL = {"vocab_size": 500, "dim": 64, "n_layers": 3, "n_heads": 4, "hidden_dim": 96, "max_position_embeddings": 600}
MODERN = {**SPECIAL, "cls_token_id": 2, "sep_token_id": 3}
del MODERN["mask_token_id"]
GEMMA: dict[str, Any] = {
    **{**GROUPED, "num_hidden_layers": 7, "num_key_value_heads": 1},
    "head_dim": 32,
    "sliding_window": 32,
    "query_pre_attn_scalar": 24,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5}
MAKERS: dict[str, Callable[[], PreTrainedModel]] = {
    "camembert": lambda: CamembertModel(CamembertConfig(**SIZES, pad_token_id=1)),
    "electra": lambda: ElectraModel(ElectraConfig(**SIZES, embedding_size=64)),
    "distilbert": lambda: DistilBertModel(DistilBertConfig(**DISTIL)),
    "distilbert saved with its language-model head": lambda: DistilBertForMaskedLM(DistilBertConfig(**DISTIL)),
    "nomic": lambda: NomicBertModel(NomicBertConfig(**SIZES)),
    "gte": lambda: GteModel(GteConfig(**SIZES)),
    "gte without token types": lambda: GteModel(GteConfig(**SIZES, type_vocab_size=0)),
    "llama": lambda: LlamaModel(LlamaConfig(**GROUPED)),
    "llama with scaled positions": lambda: LlamaModel(LlamaConfig(**GROUPED, rope_parameters=LLAMA3)),
    "llama with linear positions": lambda: LlamaModel(LlamaConfig(**GROUPED, rope_parameters=LINEAR)),
    "mistral": lambda: MistralModel(MistralConfig(**GROUPED, head_dim=32, sliding_window=None)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SIZES)),
    "modernbert": lambda: ModernBertModel(ModernBertConfig(**SIZES, **MODERN, local_attention=32)),
    "modernbert saved with its language-model head": lambda: ModernBertForMaskedLM(
        ModernBertConfig(**SIZES, **MODERN, local_attention=600)
    ),
    "gemma3 both ways": lambda: Gemma3TextModel(Gemma3TextConfig(**GEMMA, use_bidirectional_attention=True)),
    "gemma3": lambda: Gemma3TextModel(Gemma3TextConfig(**GEMMA)),
    "qwen2": lambda: Qwen2Model(Qwen2Config(**GROUPED)),
    "qwen2 saved as a language model": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED, tie_word_embeddings=True)),
    "eurobert": lambda: EuroBertModel(EuroBertConfig(**GROUPED, **SPECIAL)),
}
LENGTHS = (1, 2, 12, 12, 128, 512)


@pytest.fixture(params=MAKERS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> PreTrainedModel:
    """A model with seeded weights, saved in `tmp_path`."""
    torch.manual_seed(3)
    model = MAKERS[request.param]().eval()
    for parameter in model.parameters():  # fresh models have zero biases and unit gains, which would hide mistakes
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.1)
    model.save_pretrained(tmp_path)
    return model


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
def test_equals_transformers(made: PreTrainedModel, device: str, tmp_path: Path) -> None:
    texts = [np.random.default_rng(n).integers(5, 500, size=n).tolist() for n in LENGTHS]
    texts += [texts[-1][:100] + [7] * 20, texts[-1][:100] + [8] * 3]  # of one beginning, for what computes it once
    runner = Runner(load_model(tmp_path, EngineSettings(format="fp32", device=device)))
    pooled = runner.run(texts).rows
    for text, rows, row in zip(texts, runner.run(texts, per_token=True).rows, pooled, strict=True):
        want = hidden_states(made, text)
        assert_same_vectors(unit(rows), unit(want))
        alone = runner.run([text], per_token=True).rows[0]
        assert_same_vectors(unit(alone), unit(want))
        # By the family's own pooling, which no file beside these models changes.
        pools = {"last": want[-1], "cls": want[0], "mean": want.mean(0)}
        assert_same_vectors(unit(row[None]), unit(pools[runner._model.description.embedding.pooling][None]))


@pytest.mark.parametrize(("format_name", "floor"), [("bf16", 0.9995), ("int8", 0.99), ("nf4", 0.9)])
def test_other_formats_stay_close(made: PreTrainedModel, format_name: Any, floor: float, tmp_path: Path) -> None:
    texts = [np.random.default_rng(n).integers(5, 500, size=n).tolist() for n in LENGTHS]
    rows = Runner(load_model(tmp_path, EngineSettings(format=format_name))).run(texts, per_token=True).rows
    for text, found in zip(texts, rows, strict=True):
        cosines = (unit(found) * unit(hidden_states(made, text))).sum(1)
        assert cosines.mean() >= floor


def test_names_of_nomic_and_gte_are_read_as_their_own_code_wrote_them(tmp_path: Path) -> None:
    """What transformers writes back has these names; that they are another spelling is what is tested here."""
    for name in ("nomic", "gte"):
        MAKERS[name]().save_pretrained(tmp_path / name)
    found = {name: stored_names(tmp_path / name) for name in ("nomic", "gte")}
    assert "encoder.layers.0.attn.Wqkv.weight" in found["nomic"]
    assert any(name.endswith("encoder.layer.0.mlp.up_gate_proj.weight") for name in found["gte"])


def stored_names(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", "np") as tensors:
        return set(tensors.keys())


NOMIC = {
    "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "n_embd": 64, "n_head": 4, "n_inner": 96,
    "n_layer": 3, "n_positions": 8192, "max_trained_positions": 600, "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "rotary_scaling_factor": None, "prenorm": False,
    "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "activation_function": "swiglu",
    "layer_norm_epsilon": 1e-12, "type_vocab_size": 2, "vocab_size": 500, "use_rms_norm": False,
    "torch_dtype": "float32",
}  # fmt: skip


def test_the_settings_of_nomics_own_code_make_the_same_model(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = MAKERS["nomic"]().eval()
    model.save_pretrained(tmp_path)
    text = list(range(5, 45))
    new = Runner(load_model(tmp_path, EngineSettings(format="fp32"))).run([text]).rows
    (tmp_path / "config.json").write_text(json.dumps(NOMIC))
    old = load_model(tmp_path, EngineSettings(format="fp32"))
    assert old.spec.max_positions == 600
    assert np.array_equal(Runner(old).run([text]).rows, new)


def hidden_states(model: PreTrainedModel, text: list[int]) -> np.ndarray:
    with torch.inference_mode():
        encoder = model.base_model if hasattr(model, "base_model") else model
        rows: np.ndarray = encoder(torch.tensor([text])).last_hidden_state[0].numpy()
    return rows


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
