"""ModernBERT: RoPE, norms before, a gated MLP, and in two of three layers a window of attention.

Reference: https://arxiv.org/abs/2412.13663 and transformers' modeling_modernbert.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.models import config as cfg
from farthing.models.families.bert import is_small
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
    RopeSpec,
)
from farthing.quant.int8_packed import GROUP_INPUTS

THETAS = {cfg.FULL: 160000.0, cfg.SLIDING: 10000.0}
QKV = ("attn.q", "attn.k", "attn.v")  # parts of one stored matrix


class ModernBertFamily:
    architectures = ("ModernBertModel", "ModernBertForMaskedLM")

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:
        return EmbeddingSpec("mean" if config.get("classifier_pooling") == "mean" else "cls", max_tokens=8192)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        for key in ("attention_bias", "mlp_bias", "norm_bias"):
            cfg.only(config, key, (False,), False)
        num_heads, hidden = cfg.integer(config, "num_attention_heads"), cfg.integer(config, "hidden_size")
        cfg.check_multiple("hidden_size", hidden, "num_attention_heads", num_heads)
        norm = NormSpec("layer", cfg.eps(config, "norm_eps"))
        feed_forward = FeedForwardSpec(
            cfg.integer(config, "intermediate_size"), cfg.activation(config, "hidden_activation"), is_gated=True
        )
        window = cfg.integer(config, "local_attention", 128) // 2
        every = cfg.integer(config, "global_attn_every_n_layers", 3)
        ropes = {kind: rope_of(config, kind) for kind in THETAS}
        layers = tuple(
            LayerSpec(
                AttentionSpec(
                    num_heads,
                    num_heads,
                    hidden // num_heads,
                    is_causal=False,
                    window=window if kind == cfg.SLIDING else None,
                    rope=ropes[kind],
                ),
                feed_forward,
                norm,
                norm_place="before",
                norms_input=index > 0,
            )
            for index, kind in enumerate(cfg.layer_kinds(config, lambda index: index % every == 0))
        )
        return ModelSpec(
            family="modernbert",
            vocab=cfg.integer(config, "vocab_size"),
            hidden=hidden,
            max_positions=cfg.integer(config, "max_position_embeddings"),
            layers=layers,
            input=InputSpec(norm=norm),
            last_norm=norm,
            stored_bytes=cfg.stored_bytes(config),
            ties_table=bool(config.get("tie_word_embeddings", True)),
            token_memory_bytes=1200,
        )

    def layout(self, spec: ModelSpec) -> Layout:
        hidden, inner = spec.hidden, spec.intermediate
        after_first = range(1, spec.num_layers)
        return Layout(
            table=VectorPart("table", "embeddings.tok_embeddings.weight", (spec.vocab, hidden)),
            shared=(
                VectorPart("input_norm_gain", "embeddings.norm.weight", (hidden,)),
                VectorPart("last_norm_gain", "final_norm.weight", (hidden,)),
            ),
            vectors=(
                VectorPart("attention_norm_gain", "attn_norm.weight", (hidden,), layers=after_first),
                VectorPart("mlp_norm_gain", "mlp_norm.weight", (hidden,)),
            ),
            matrices=(
                MatrixPart("qkv", QKV, (hidden,) * 3, hidden, rotates_inputs=True, is_sensitive=is_small(spec)),
                MatrixPart("o", ("attn.Wo",), (hidden,), hidden, rotates_inputs=True),
                MatrixPart(
                    "gate_up",
                    ("mlp.gate", "mlp.up"),
                    (inner, inner),
                    hidden,
                    rotates_inputs=True,
                    is_sensitive=is_small(spec),
                ),
                MatrixPart("down", ("mlp.Wo",), (hidden,), inner, input_group=GROUP_INPUTS, rotates_inputs=True),
            ),
            layer_prefix="layers.{layer}.",
            num_layers=spec.num_layers,
            wrappers=("model.",),
            fused=(Fused("attn.Wqkv", QKV), Fused("mlp.Wi", ("mlp.gate", "mlp.up"))),
            optional=("head.", "decoder.", "classifier."),
            twins=("decoder.weight",) if spec.ties_table else (),
        )


def rope_of(config: Mapping[str, Any], kind: str) -> RopeSpec:
    """The positions of a kind of layer, in the spelling of transformers 5 or the one before."""
    stated = cfg.table(config.get("rope_parameters"), "config.json: rope_parameters")
    name = "global_rope_theta" if kind == cfg.FULL else "local_rope_theta"
    own = cfg.table(stated.get(kind), f"config.json: rope_parameters.{kind}")
    theta = config.get(name)
    return read_rope({"rope_theta": THETAS[kind] if theta is None else theta, "rope_parameters": own})
