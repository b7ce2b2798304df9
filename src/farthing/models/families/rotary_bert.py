"""BERT with RoPE in place of learned positions, and a gated MLP: nomic-embed-text v1 and v1.5, and GTE's "new" models.

Reference: transformers' modeling_nomic_bert.py and modeling_gte.py. The checkpoints are published with code of their
own (nomic-ai/nomic-bert-2048, Alibaba-NLP/new-impl), whose names of settings and tensors are read too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.models import config as cfg
from farthing.models.families.bert import is_small, norm_parts
from farthing.models.layout import Fused, Layout, MatrixPart, VectorPart
from farthing.models.rope import read_rope
from farthing.models.spec import (
    AttentionSpec,
    EmbeddingSpec,
    FeedForwardSpec,
    InputSpec,
    LayerSpec,
    ModelSpec,
    NormSpec,
)
from farthing.quant.int8_packed import GROUP_INPUTS

# The settings of nomic-bert's own code, and what transformers calls them.
NOMIC_KEYS = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "layer_norm_epsilon": "layer_norm_eps",
    "rotary_emb_base": "rope_theta",
    # The code goes on after the positions of the training with frequencies that depend on the longest text of a batch.
    "max_trained_positions": "max_position_embeddings",
}
NOMIC_DEFAULTS = {"max_position_embeddings": 2048, "hidden_act": "silu", "rope_theta": 1000.0}
GTE_DEFAULTS = {"hidden_act": "gelu", "rope_theta": 160000.0}
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


class RotaryBertFamily:
    architectures = ("NomicBertModel", "NewModel", "GteModel", "NewForMaskedLM", "GteForMaskedLM")

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:
        return EmbeddingSpec("mean" if is_nomic(config) else "cls", max_tokens=8192)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        given = nomic_config(config) if is_nomic(config) else gte_config(config)
        num_heads, hidden = cfg.integer(given, "num_attention_heads"), cfg.integer(given, "hidden_size")
        cfg.check_multiple("hidden_size", hidden, "num_attention_heads", num_heads)
        norm = NormSpec("layer", cfg.eps(given, "layer_norm_eps"))
        has_biases = not is_nomic(config)
        layer = LayerSpec(
            AttentionSpec(
                num_heads,
                num_heads,
                hidden // num_heads,
                is_causal=False,
                rope=read_rope(given),
                has_biases=has_biases,
            ),
            FeedForwardSpec(
                cfg.integer(given, "intermediate_size"), cfg.activation(given), is_gated=True, has_biases=has_biases
            ),
            norm,
            norm_place="after",
        )
        return ModelSpec(
            family="rotary_bert",
            vocab=cfg.integer(given, "vocab_size"),
            hidden=hidden,
            max_positions=cfg.integer(given, "max_position_embeddings"),
            layers=(layer,) * cfg.integer(given, "num_hidden_layers", maximum=cfg.MAX_LAYERS),
            input=InputSpec(num_token_types=cfg.integer(given, "type_vocab_size", 0, minimum=0), norm=norm),
            stored_bytes=cfg.stored_bytes(config),
            token_memory_bytes=1200,
        )

    def layout(self, spec: ModelSpec) -> Layout:
        hidden, has_biases = spec.hidden, spec.layers[0].attention.has_biases
        types = spec.input.num_token_types
        shared = (
            (VectorPart("token_types", "embeddings.token_type_embeddings.weight", (types, hidden)),) if types else ()
        )
        return Layout(
            table=VectorPart("table", "embeddings.word_embeddings.weight", (spec.vocab, hidden)),
            shared=(*shared, *norm_parts("input_norm", "embeddings.LayerNorm", hidden)),
            vectors=(
                *norm_parts("attention_norm", "post_attention_layernorm", hidden),
                *norm_parts("mlp_norm", "post_mlp_layernorm", hidden),
            ),
            matrices=(
                MatrixPart(
                    "qkv", QKV, (hidden,) * 3, hidden, bias=has_biases, rotates_inputs=True, is_sensitive=is_small(spec)
                ),
                MatrixPart("o", ("self_attn.o_proj",), (hidden,), hidden, bias=has_biases, rotates_inputs=True),
                MatrixPart(
                    "gate_up",
                    ("mlp.gate_proj", "mlp.up_proj"),
                    (spec.intermediate, spec.intermediate),
                    hidden,
                    rotates_inputs=True,
                    is_sensitive=is_small(spec),
                ),
                MatrixPart(
                    "down",
                    ("mlp.down_proj",),
                    (hidden,),
                    spec.intermediate,
                    bias=has_biases,
                    input_group=GROUP_INPUTS,
                    rotates_inputs=True,
                ),
            ),
            layer_prefix="layers.{layer}.",
            num_layers=spec.num_layers,
            wrappers=("nomic_bert.", "new.", "gte.", "model."),
            renamed=(
                # of nomic-bert's own code
                ("encoder.layers", "layers"),
                ("emb_ln", "embeddings.LayerNorm"),
                ("attn.Wqkv", "self_attn.Wqkv"),
                ("attn.out_proj", "self_attn.o_proj"),
                ("mlp.fc11", "mlp.up_proj"),
                ("mlp.fc12", "mlp.gate_proj"),
                ("mlp.fc2", "mlp.down_proj"),
                ("norm1", "post_attention_layernorm"),
                ("norm2", "post_mlp_layernorm"),
                # of GTE's own code
                ("encoder.layer", "layers"),
                ("attention.qkv_proj", "self_attn.Wqkv"),
                ("attention.o_proj", "self_attn.o_proj"),
                ("attn_ln", "post_attention_layernorm"),
                ("mlp_ln", "post_mlp_layernorm"),
            ),
            fused=(Fused("self_attn.Wqkv", QKV), Fused("mlp.up_gate_proj", ("mlp.up_proj", "mlp.gate_proj"))),
            optional=(
                "pooler.",
                "cls.",
                "lm_head.",
                "embeddings.position_ids",
                "embeddings.token_type_ids",
                "rotary_emb.",
            ),
        )


def is_nomic(config: Mapping[str, Any]) -> bool:
    return config.get("model_type") == "nomic_bert"


def nomic_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by transformers' names. Raises `CheckpointError` for a value that changes the arithmetic."""
    cfg.only(config, "activation_function", ("swiglu",), "swiglu")
    cfg.only(config, "prenorm", (False,), False)
    cfg.only(config, "rotary_emb_fraction", (1.0,), 1.0)
    cfg.only(config, "rotary_emb_interleaved", (False,), False)
    cfg.only(config, "rotary_emb_scale_base", (None,), None)
    cfg.only(config, "rotary_scaling_factor", (None,), None)
    cfg.only(config, "use_rms_norm", (False, None), False)
    cfg.only(config, "moe_every_n_layers", (0, None), 0)
    for key in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"):
        cfg.only(config, key, (False,), False)
    return {**NOMIC_DEFAULTS, **{NOMIC_KEYS.get(key, key): value for key, value in config.items() if value is not None}}


def gte_config(config: Mapping[str, Any]) -> dict[str, Any]:
    cfg.only(config, "position_embedding_type", ("rope",), "rope")
    cfg.only(config, "layer_norm_type", ("layer_norm",), "layer_norm")
    cfg.only(config, "logn_attention_scale", (False,), False)
    cfg.only(config, "logn_attention_clip1", (False,), False)
    return {**GTE_DEFAULTS, **{key: value for key, value in config.items() if value is not None}}
