"""Qwen3 as an encoder: causal, grouped-query attention with per-head q/k norm, RoPE, SwiGLU, pre-norm.

Reference: https://arxiv.org/abs/2505.09388 and transformers' modeling_qwen3.py; embedding use:
https://arxiv.org/abs/2506.05176.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.core.errors import CheckpointError
from farthing.models import config as cfg
from farthing.models.layout import Layout, MatrixPart, ValueHeads, VectorPart
from farthing.models.spec import (
    AttentionSpec,
    EmbeddingSpec,
    FeedForwardSpec,
    LayerSpec,
    ModelSpec,
    NormSpec,
    RopeSpec,
)
from farthing.quant.int8_packed import GROUP_INPUTS

INSTRUCTION = "Instruct: {task}\nQuery:"  # no space after "Query:"
DEFAULT_TASK = "Given a web search query, retrieve relevant passages that answer the query"

# The vocabularies of Qwen3-Embedding 0.6B, and of 4B and 8B. The language models, and models made from them, have
# 151,936 tokens.
EMBEDDING_VOCABS = (151669, 151665)
EMBEDDING = EmbeddingSpec(
    pooling="last",
    max_tokens=32768,
    prompts={"query": INSTRUCTION.format(task=DEFAULT_TASK), "document": ""},
    instruction_template=INSTRUCTION,
    matryoshka_min=32,
    end_token="<|endoftext|>",
)


class Qwen3Family:
    architectures = ("Qwen3Model", "Qwen3ForCausalLM", "Qwen3ForSequenceClassification")

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:
        """Qwen3-Embedding's own pooling and prompts; other models made of Qwen3 get only its pooling."""
        return EMBEDDING if config.get("vocab_size") in EMBEDDING_VOCABS else EmbeddingSpec("last", max_tokens=32768)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        cfg.only(config, "model_type", ("qwen3",), "qwen3")  # other types build on it, and compute something else
        cfg.only(config, "attention_bias", (False,), False)
        cfg.only(config, "use_sliding_window", (False,), False)
        num_heads = cfg.integer(config, "num_attention_heads")
        num_kv_heads = cfg.integer(config, "num_key_value_heads", num_heads)
        cfg.check_multiple("num_attention_heads", num_heads, "num_key_value_heads", num_kv_heads)
        hidden = cfg.integer(config, "hidden_size")
        norm = NormSpec("rms", cfg.eps(config, "rms_norm_eps"))
        layer = LayerSpec(
            AttentionSpec(
                num_heads,
                num_kv_heads,
                head_dim=cfg.integer(config, "head_dim", hidden // num_heads),
                is_causal=is_causal(config),
                head_norm=norm,
                rope=RopeSpec(rope_theta(config)),
            ),
            FeedForwardSpec(cfg.integer(config, "intermediate_size"), cfg.activation(config), is_gated=True),
            norm,
            norm_place="before",
        )
        return ModelSpec(
            family="qwen3",
            vocab=cfg.integer(config, "vocab_size"),
            hidden=hidden,
            max_positions=cfg.integer(config, "max_position_embeddings"),
            layers=(layer,) * cfg.integer(config, "num_hidden_layers", maximum=cfg.MAX_LAYERS),
            last_norm=norm,
            stored_bytes=cfg.stored_bytes(config),
            ties_table=bool(config.get("tie_word_embeddings", False)),
            token_memory_bytes=650,
        )

    def layout(self, spec: ModelSpec) -> Layout:
        hidden = spec.hidden
        return Layout(
            table=VectorPart("table", "embed_tokens.weight", (spec.vocab, hidden)),
            shared=(VectorPart("last_norm_gain", "norm.weight", (hidden,)),),
            vectors=(
                VectorPart("attention_norm_gain", "input_layernorm.weight", (hidden,)),
                VectorPart("q_norm", "self_attn.q_norm.weight", (spec.head_dim,)),
                VectorPart("k_norm", "self_attn.k_norm.weight", (spec.head_dim,)),
                VectorPart("mlp_norm_gain", "post_attention_layernorm.weight", (hidden,)),
            ),
            matrices=(
                MatrixPart(
                    "qkv",
                    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
                    (spec.q_width, spec.kv_width, spec.kv_width),
                    hidden,
                    gain="attention_norm_gain",
                    residual="reads",
                ),
                MatrixPart("o", ("self_attn.o_proj",), (hidden,), spec.q_width, residual="writes"),
                MatrixPart(
                    "gate_up",
                    ("mlp.gate_proj", "mlp.up_proj"),
                    (spec.intermediate, spec.intermediate),
                    hidden,
                    gain="mlp_norm_gain",
                    residual="reads",
                ),
                MatrixPart(
                    "down",
                    ("mlp.down_proj",),
                    (hidden,),
                    spec.intermediate,
                    residual="writes",
                    input_group=GROUP_INPUTS,
                    rotates_inputs=True,
                ),
            ),
            layer_prefix="layers.{layer}.",
            num_layers=spec.num_layers,
            wrappers=("model.",),
            values=ValueHeads("self_attn.v_proj", "o", spec.head_dim),
            optional=("lm_head.weight",),  # of a causal LM; tied to the table or unused by an encoder
            twins=("lm_head.weight",) if spec.ties_table else (),
        )


def is_causal(config: Mapping[str, Any]) -> bool:
    """Whether tokens attend to earlier ones alone, as in Qwen3; the config of a model made of it may say otherwise."""
    for key, causal in (("is_causal", True), ("use_bidirectional_attention", False)):
        value = config.get(key)
        if value is not None and not isinstance(value, bool):
            raise CheckpointError(f"config.json: {key} is {cfg.shown(value)}; true or false is needed.")
        if value is not None and value is not causal:
            return False
    return True


def rope_theta(config: Mapping[str, Any]) -> float:
    """The base in `rope_theta`, or in transformers 5's `rope_parameters`. Raises `CheckpointError` for scaled RoPE."""
    stated = config.get("rope_parameters") or config.get("rope_scaling")
    scaling = cfg.table(stated, "config.json: rope_parameters")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        raise CheckpointError(
            f"config.json: RoPE of type {cfg.shown(kind)} is not built; remove rope_scaling or take another model."
        )
    return cfg.number(scaling if "rope_theta" in scaling else config, "rope_theta")
