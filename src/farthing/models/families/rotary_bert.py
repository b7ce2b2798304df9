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

# What nomic-bert's own code calls the settings.
NOMIC_KEYS = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "layer_norm_eps": "layer_norm_epsilon",
    "rope_theta": "rotary_emb_base",
    # The code goes on after the positions of the training with frequencies that depend on the longest text of a batch.
    "max_position_embeddings": "max_trained_positions",
}
ROPE = ("rope_parameters", "rope_scaling")
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


class RotaryBertFamily:
    architectures = ("NomicBertModel", "NewModel", "GteModel", "NewForMaskedLM", "GteForMaskedLM")

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:
        return EmbeddingSpec("mean" if is_nomic(config) else "cls", max_tokens=8192)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        check_nomic(config) if is_nomic(config) else check_gte(config)
        key = {name: name if name in config else other for name, other in NOMIC_KEYS.items()}
        if not is_nomic(config):
            key = {name: name for name in NOMIC_KEYS}
        num_heads, hidden = cfg.integer(config, key["num_attention_heads"]), cfg.integer(config, key["hidden_size"])
        cfg.check_multiple(key["hidden_size"], hidden, key["num_attention_heads"], num_heads)
        norm = NormSpec("layer", cfg.eps(config, key["layer_norm_eps"]))
        theta, has_biases = config.get(key["rope_theta"]), not is_nomic(config)
        rope = read_rope(
            {"rope_theta": theta, **{name: config.get(name) for name in ("rope_parameters", "rope_scaling")}}
        )
        layer = LayerSpec(
            AttentionSpec(num_heads, num_heads, hidden // num_heads, is_causal=False, rope=rope, has_biases=has_biases),
            FeedForwardSpec(
                cfg.integer(config, key["intermediate_size"]),
                cfg.activation({"hidden_act": "silu", **config} if is_nomic(config) else config),
                is_gated=True,
                has_biases=has_biases,
            ),
            norm,
            norm_place="after",
        )
        return ModelSpec(
            family="rotary_bert",
            vocab=cfg.integer(config, "vocab_size"),
            hidden=hidden,
            max_positions=cfg.integer(config, key["max_position_embeddings"], 2048 if is_nomic(config) else None),
            layers=(layer,) * cfg.integer(config, key["num_hidden_layers"], maximum=cfg.MAX_LAYERS),
            input=InputSpec(num_token_types=cfg.integer(config, "type_vocab_size", 0, minimum=0), norm=norm),
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


def check_nomic(config: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` for a value that changes the arithmetic."""
    for key, value in {
        "activation_function": "swiglu",
        "prenorm": False,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "qkv_proj_bias": False,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
    }.items():
        cfg.only(config, key, (value,), value)
    for key in ("rotary_emb_scale_base", "rotary_scaling_factor"):
        cfg.only(config, key, (None,), None)
    cfg.only(config, "use_rms_norm", (False, None), False)
    cfg.only(config, "moe_every_n_layers", (0, None), 0)


def check_gte(config: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` for a value that changes the arithmetic."""
    cfg.only(config, "position_embedding_type", ("rope",), "rope")
    cfg.only(config, "layer_norm_type", ("layer_norm",), "layer_norm")
    for key in ("logn_attention_scale", "logn_attention_clip1"):
        cfg.only(config, key, (False,), False)
