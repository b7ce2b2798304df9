"""Llama and models built like it (Mistral, Qwen2, EuroBERT): grouped-query attention, RoPE, gated MLP, RMSNorm before.

References: https://arxiv.org/abs/2302.13971 and transformers' modeling_llama.py, modeling_mistral.py,
modeling_qwen2.py, modeling_eurobert.py. Qwen3 (`farthing.models.families.qwen3`) is built so too, with norms of queries
and keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from farthing.core.errors import CheckpointError
from farthing.models import config as cfg
from farthing.models.layout import Layout, MatrixPart, ValueHeads, VectorPart
from farthing.models.rope import read_rope
from farthing.models.spec import (
    AttentionSpec,
    EmbeddingSpec,
    FeedForwardSpec,
    LayerSpec,
    ModelSpec,
    NormSpec,
)
from farthing.quant.int8_packed import GROUP_INPUTS

MODEL_TYPES = ("llama", "mistral", "qwen2", "eurobert", "llama_bidirec")


class LlamaFamily:
    architectures = (
        "LlamaModel", "LlamaForCausalLM", "LlamaBidirectionalModel", "MistralModel", "MistralForCausalLM", "Qwen2Model",
        "Qwen2ForCausalLM", "EuroBertModel", "EuroBertForMaskedLM",
    )  # fmt: skip

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:
        return EmbeddingSpec("last" if looks_back_alone(config) else "mean", max_tokens=32768)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        cfg.only(config, "model_type", MODEL_TYPES, "llama")  # others build on these, and compute something else
        cfg.only(config, "mlp_bias", (False,), False)
        is_qwen2 = config.get("model_type") == "qwen2"
        if not is_qwen2:  # whose queries, keys and values always have biases
            cfg.only(config, "attention_bias", (False,), False)
        spec = decoder_spec(config, "llama", is_causal=looks_back_alone(config))
        layer = spec.layers[0]
        layer = replace(layer, attention=replace(layer.attention, has_biases=is_qwen2))
        return replace(spec, layers=(layer,) * spec.num_layers)

    def layout(self, spec: ModelSpec) -> Layout:
        return decoder_layout(spec)


def looks_back_alone(config: Mapping[str, Any]) -> bool:
    """Whether tokens attend to earlier ones alone, as in language models; an embedder's config may say otherwise."""
    if config.get("model_type") in ("eurobert", "llama_bidirec"):
        return False
    for key, causal in (("is_causal", True), ("use_bidirectional_attention", False)):
        value = config.get(key)
        if value is not None and not isinstance(value, bool):
            raise CheckpointError(f"config.json: {key} is {cfg.shown(value)}; true or false is needed.")
        if value is not None and value is not causal:
            return False
    return True


def decoder_spec(config: Mapping[str, Any], family: str, *, is_causal: bool, norms_heads: bool = False) -> ModelSpec:
    """The spec of a model of this build, whose layers are all alike."""
    num_heads = cfg.integer(config, "num_attention_heads")
    num_kv_heads = cfg.integer({"num_key_value_heads": num_heads, **cfg.non_null(config)}, "num_key_value_heads")
    cfg.check_multiple("num_attention_heads", num_heads, "num_key_value_heads", num_kv_heads)
    hidden = cfg.integer(config, "hidden_size")
    head_dim = cfg.integer({"head_dim": hidden // num_heads, **cfg.non_null(config)}, "head_dim")
    norm = NormSpec("rms", cfg.eps(config, "rms_norm_eps"))
    layer = LayerSpec(
        AttentionSpec(
            num_heads,
            num_kv_heads,
            head_dim,
            is_causal,
            head_norm=norm if norms_heads else None,
            rope=read_rope(config),
        ),
        FeedForwardSpec(cfg.integer(config, "intermediate_size"), cfg.activation(config), is_gated=True),
        norm,
        norm_place="before",
    )
    return ModelSpec(
        family=family,
        vocab=cfg.integer(config, "vocab_size"),
        hidden=hidden,
        max_positions=positions(config),
        layers=(layer,) * cfg.integer(config, "num_hidden_layers", maximum=cfg.MAX_LAYERS),
        last_norm=norm,
        stored_bytes=cfg.stored_bytes(config),
        ties_table=bool(config.get("tie_word_embeddings", False)),
        token_memory_bytes=650,
    )


def positions(config: Mapping[str, Any]) -> int:
    """The most tokens of one text: as many as a sliding window sees whole, where layers have one."""
    limit = cfg.integer(config, "max_position_embeddings")
    kinds = config.get("layer_types")
    slides = config.get("use_sliding_window", config.get("model_type") == "mistral")
    if isinstance(kinds, list):
        slides = any(kind != cfg.FULL for kind in kinds)
    if not slides or config.get("sliding_window") is None:
        return limit
    return min(limit, cfg.integer(config, "sliding_window"))


def decoder_layout(spec: ModelSpec) -> Layout:
    hidden, attention = spec.hidden, spec.layers[0].attention
    head_norms: tuple[VectorPart, ...] = ()
    if attention.head_norm is not None:
        head_norms = tuple(
            VectorPart(name, f"self_attn.{name}.weight", (spec.head_dim,)) for name in ("q_norm", "k_norm")
        )
    return Layout(
        table=VectorPart("table", "embed_tokens.weight", (spec.vocab, hidden)),
        shared=(VectorPart("last_norm_gain", "norm.weight", (hidden,)),),
        vectors=(
            VectorPart("attention_norm_gain", "input_layernorm.weight", (hidden,)),
            *head_norms,
            VectorPart("mlp_norm_gain", "post_attention_layernorm.weight", (hidden,)),
        ),
        matrices=(
            MatrixPart(
                "qkv",
                ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
                (spec.q_width, spec.kv_width, spec.kv_width),
                hidden,
                bias=attention.has_biases,
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
        # The biases of values would have to be rotated with them.
        values=None if attention.has_biases else ValueHeads("self_attn.v_proj", "o", spec.head_dim),
        optional=("lm_head.weight",),  # of a causal LM; tied to the table or unused by an encoder
        twins=("lm_head.weight",) if spec.ties_table else (),
    )
