"""Gemma 3's text part as an encoder (EmbeddingGemma): norms on both sides of each half, windows in five of six layers.

Reference: https://arxiv.org/abs/2503.19786, https://arxiv.org/abs/2509.20354 and transformers' modeling_gemma3.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.models import config as cfg
from farthing.models.families.llama import looks_back_alone
from farthing.models.layout import Layout, MatrixPart, VectorPart
from farthing.models.rope import read_rope
from farthing.models.spec import (
    AttentionSpec,
    EmbeddingSpec,
    FeedForwardSpec,
    InputSpec,
    LayerSpec,
    ModelSpec,
    NormSpec,
    RopeSpec,
)
from farthing.quant.int8_packed import GROUP_INPUTS

THETAS = {cfg.FULL: 1e6, cfg.SLIDING: 1e4}
ROPE = ("rope_theta", "rope_scaling")


class Gemma3Family:
    architectures = ("Gemma3TextModel", "Gemma3ForCausalLM")

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:
        return EmbeddingSpec("last" if looks_back_alone(config) else "mean", max_tokens=2048)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        cfg.only(config, "attention_bias", (False,), False)
        cfg.only(config, "attn_logit_softcapping", (None,), None)
        cfg.only(config, "final_logit_softcapping", (None,), None)
        num_heads, hidden = cfg.integer(config, "num_attention_heads"), cfg.integer(config, "hidden_size")
        num_kv_heads = cfg.integer(config, "num_key_value_heads")
        cfg.check_multiple("num_attention_heads", num_heads, "num_key_value_heads", num_kv_heads)
        head_dim = cfg.integer({"head_dim": hidden // num_heads, **cfg.non_null(config)}, "head_dim")
        norm = NormSpec("rms", cfg.eps(config, "rms_norm_eps"))
        both_ways = not looks_back_alone(config)
        size = cfg.integer(config, "sliding_window")
        every = cfg.integer({"sliding_window_pattern": 6, **cfg.non_null(config)}, "sliding_window_pattern")
        scale = cfg.number(config, "query_pre_attn_scalar") ** -0.5
        attention = {
            kind: AttentionSpec(
                num_heads,
                num_kv_heads,
                head_dim,
                is_causal=not both_ways,
                scale=scale,
                # Its size counts both directions, or the token itself and what stands before it.
                window=(size // 2 if both_ways else size - 1) if kind == cfg.SLIDING else None,
                head_norm=norm,
                rope=rope_of(config, kind),
            )
            for kind in THETAS
        }
        feed_forward = FeedForwardSpec(
            cfg.integer(config, "intermediate_size"), cfg.activation(config, "hidden_activation"), is_gated=True
        )
        kinds = cfg.layer_kinds(config, lambda index: (index + 1) % every == 0)
        layers = tuple(LayerSpec(attention[kind], feed_forward, norm, norm_place="both") for kind in kinds)
        return ModelSpec(
            family="gemma3",
            vocab=cfg.integer(config, "vocab_size"),
            hidden=hidden,
            max_positions=cfg.integer(config, "max_position_embeddings"),
            layers=layers,
            input=InputSpec(scale=hidden**0.5),
            last_norm=norm,
            stored_bytes=cfg.stored_bytes(config),
            ties_table=bool(config.get("tie_word_embeddings", True)),
            token_memory_bytes=650,
        )

    def layout(self, spec: ModelSpec) -> Layout:
        hidden, inner = spec.hidden, spec.intermediate

        def gain(name: str, source: str, width: int = hidden) -> VectorPart:
            return VectorPart(name, f"{source}.weight", (width,), offset=1.0)

        return Layout(
            table=VectorPart("table", "embed_tokens.weight", (spec.vocab, hidden)),
            shared=(gain("last_norm_gain", "norm"),),
            vectors=(
                gain("attention_norm_gain", "input_layernorm"),
                gain("q_norm", "self_attn.q_norm", spec.head_dim),
                gain("k_norm", "self_attn.k_norm", spec.head_dim),
                gain("attention_added_gain", "post_attention_layernorm"),
                gain("mlp_norm_gain", "pre_feedforward_layernorm"),
                gain("mlp_added_gain", "post_feedforward_layernorm"),
            ),
            matrices=(
                MatrixPart(
                    "qkv",
                    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
                    (spec.q_width, spec.kv_width, spec.kv_width),
                    hidden,
                    gain="attention_norm_gain",
                    rotates_inputs=True,
                ),
                MatrixPart("o", ("self_attn.o_proj",), (hidden,), spec.q_width, rotates_inputs=True),
                MatrixPart(
                    "gate_up",
                    ("mlp.gate_proj", "mlp.up_proj"),
                    (inner, inner),
                    hidden,
                    gain="mlp_norm_gain",
                    rotates_inputs=True,
                ),
                MatrixPart("down", ("mlp.down_proj",), (hidden,), inner, input_group=GROUP_INPUTS, rotates_inputs=True),
            ),
            layer_prefix="layers.{layer}.",
            num_layers=spec.num_layers,
            wrappers=("model.", "language_model.model."),
            optional=("lm_head.weight",),
            twins=("lm_head.weight",) if spec.ties_table else (),
        )


def rope_of(config: Mapping[str, Any], kind: str) -> RopeSpec:
    """The positions of a kind of layer, in the spelling of transformers 5 or the one before."""
    stated = cfg.table(config.get("rope_parameters"), "config.json: rope_parameters")
    if kind in stated:
        own = cfg.table(stated.get(kind), f"config.json: rope_parameters.{kind}")
        return read_rope({"rope_theta": THETAS[kind], "rope_parameters": own})
    if kind == cfg.FULL:
        return read_rope(
            {"rope_theta": config.get("rope_theta", THETAS[kind]), "rope_scaling": config.get("rope_scaling")}
        )
    return read_rope({"rope_theta": config.get("rope_local_base_freq", THETAS[kind])})
