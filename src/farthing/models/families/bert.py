"""BERT and its relatives (RoBERTa, XLM-R, ELECTRA, CamemBERT; hence MiniLM, bge, gte, e5): bidirectional, learned
positions, post-norm.

Reference: https://arxiv.org/abs/1810.04805 and transformers' modeling_bert.py, modeling_xlm_roberta.py,
modeling_electra.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.models import config as cfg
from farthing.models.layout import Layout, MatrixPart, VectorPart
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

STEMS: Mapping[str, tuple[str, ...]] = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "o": ("attention.output.dense",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "mlp_norm": ("output.LayerNorm",),
}
SETTINGS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act")
# Those whose positions start behind the padding index: https://github.com/facebookresearch/fairseq
COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")


class BertFamily:
    architectures = (
        "BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification",
        "RobertaModel", "RobertaForMaskedLM", "RobertaForSequenceClassification",
        "XLMRobertaModel", "XLMRobertaForMaskedLM", "XLMRobertaForSequenceClassification",
        "CamembertModel", "CamembertForMaskedLM", "ElectraModel", "ElectraForPreTraining",
    )  # fmt: skip

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:  # noqa: ARG002
        return EmbeddingSpec(pooling="mean", max_tokens=512)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        cfg.only(config, "position_embedding_type", ("absolute",), "absolute")
        cfg.only(config, "is_decoder", (False,), False)
        # ELECTRA's small models widen narrower embeddings by a matrix.
        cfg.only(config, "embedding_size", (config.get("hidden_size"),), config.get("hidden_size"))
        return encoder_spec(config, "bert")

    def layout(self, spec: ModelSpec) -> Layout:
        return encoder_layout(
            spec,
            layer_prefix="encoder.layer.{layer}.",
            wrappers=("bert.", "roberta.", "electra."),
            stems=STEMS,
            # A pooler serves next-sentence prediction; cls. and lm_head. predict masked words, and ELECTRA's
            # discriminator replaced ones: no part in vectors.
            optional=(
                "pooler.",
                "cls.",
                "lm_head.",
                "discriminator_predictions.",
                "embeddings.position_ids",
                "embeddings.token_type_ids",
            ),
            twins=("cls.predictions.decoder.weight", "lm_head.decoder.weight") if spec.ties_table else (),
        )


def encoder_spec(
    config: Mapping[str, Any],
    family: str,
    *,
    keys: Mapping[str, str] | None = None,
    eps: float | None = None,
    has_types: bool = True,
) -> ModelSpec:
    """The spec of a model of this build, whose layers are all alike.

    `keys` are other names that config.json has for BERT's settings; `eps` is that of the norms where it has none.
    """
    key = {name: name for name in SETTINGS} | dict(keys or {})
    counts_from_padding = config.get("model_type") in COUNT_FROM_PADDING
    offset = cfg.integer(config, "pad_token_id", 1, minimum=0) + 1 if counts_from_padding else 0
    num_heads, hidden = cfg.integer(config, key["num_attention_heads"]), cfg.integer(config, key["hidden_size"])
    cfg.check_multiple(key["hidden_size"], hidden, key["num_attention_heads"], num_heads)
    norm = NormSpec("layer", cfg.eps(config, "layer_norm_eps") if eps is None else eps)
    layer = LayerSpec(
        AttentionSpec(num_heads, num_heads, hidden // num_heads, is_causal=False, has_biases=True),
        FeedForwardSpec(
            cfg.integer(config, key["intermediate_size"]),
            cfg.activation(config, key["hidden_act"]),
            is_gated=False,
            has_biases=True,
        ),
        norm,
        norm_place="after",
    )
    return ModelSpec(
        family=family,
        vocab=cfg.integer(config, "vocab_size"),
        hidden=hidden,
        max_positions=cfg.integer(config, "max_position_embeddings") - offset,
        layers=(layer,) * cfg.integer(config, key["num_hidden_layers"], maximum=cfg.MAX_LAYERS),
        input=InputSpec(
            learns_positions=True,
            position_offset=offset,
            num_token_types=cfg.integer(config, "type_vocab_size") if has_types else 0,
            norm=norm,
        ),
        stored_bytes=cfg.stored_bytes(config),
        ties_table=bool(config.get("tie_word_embeddings", True)),
        token_memory_bytes=1200,
    )


def encoder_layout(
    spec: ModelSpec,
    layer_prefix: str,
    wrappers: tuple[str, ...],
    stems: Mapping[str, tuple[str, ...]],
    optional: tuple[str, ...],
    twins: tuple[str, ...],
) -> Layout:
    """The layout of a model of this build. `stems`: what a layer's matrices and norms are called, by part name."""
    hidden, types = spec.hidden, spec.input.num_token_types
    num_positions = spec.max_positions + spec.input.position_offset
    type_parts = (VectorPart("token_types", "embeddings.token_type_embeddings.weight", (types, hidden)),)

    def matrix(
        name: str, outputs: tuple[int, ...], inputs: int, *, group: int | None = None, is_sensitive: bool = False
    ) -> MatrixPart:
        return MatrixPart(
            name,
            stems[name],
            outputs,
            inputs,
            bias=True,
            input_group=group,
            rotates_inputs=True,
            is_sensitive=is_sensitive,
        )

    return Layout(
        table=VectorPart("table", "embeddings.word_embeddings.weight", (spec.vocab, hidden)),
        shared=(
            VectorPart("positions", "embeddings.position_embeddings.weight", (num_positions, hidden)),
            *(type_parts if types else ()),
            *norm_parts("input_norm", "embeddings.LayerNorm", hidden),
        ),
        vectors=tuple(
            part for name in ("attention_norm", "mlp_norm") for part in norm_parts(name, stems[name][0], hidden)
        ),
        matrices=(
            matrix("qkv", (hidden, hidden, hidden), hidden, is_sensitive=is_small(spec)),
            matrix("o", (hidden,), hidden),
            matrix("up", (spec.intermediate,), hidden, is_sensitive=is_small(spec)),
            matrix("down", (hidden,), spec.intermediate, group=GROUP_INPUTS),
        ),
        layer_prefix=layer_prefix,
        num_layers=spec.num_layers,
        wrappers=wrappers,
        twins=twins,
        renamed=(("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")),
        optional=optional,
    )


def is_small(spec: ModelSpec) -> bool:
    """Whether the layers are small beside the token table, so that a finer format for a few matrices costs little."""
    return spec.hidden <= 1024 and spec.num_layers <= 12


def norm_parts(name: str, source: str, hidden: int) -> tuple[VectorPart, VectorPart]:
    return (
        VectorPart(f"{name}_gain", f"{source}.weight", (hidden,)),
        VectorPart(f"{name}_bias", f"{source}.bias", (hidden,)),
    )
