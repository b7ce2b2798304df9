"""BERT and its relatives (RoBERTa, XLM-R; hence MiniLM, bge, gte, e5): bidirectional, learned positions, post-norm.

Reference: https://arxiv.org/abs/1810.04805 and transformers' modeling_bert.py, modeling_xlm_roberta.py.
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


class BertFamily:
    architectures = (
        "BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification",
        "RobertaModel", "RobertaForMaskedLM", "RobertaForSequenceClassification",
        "XLMRobertaModel", "XLMRobertaForMaskedLM", "XLMRobertaForSequenceClassification",
    )  # fmt: skip

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:  # noqa: ARG002
        return EmbeddingSpec(pooling="mean", max_tokens=512)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        cfg.only(config, "position_embedding_type", ("absolute",), "absolute")
        cfg.only(config, "is_decoder", (False,), False)
        # RoBERTa's positions start behind the padding index: https://github.com/facebookresearch/fairseq
        counts_from_padding = config.get("model_type") in ("roberta", "xlm-roberta")
        offset = cfg.integer(config, "pad_token_id", 1, minimum=0) + 1 if counts_from_padding else 0
        num_heads, hidden = cfg.integer(config, "num_attention_heads"), cfg.integer(config, "hidden_size")
        cfg.check_multiple("hidden_size", hidden, "num_attention_heads", num_heads)
        norm = NormSpec("layer", cfg.eps(config, "layer_norm_eps"))
        layer = LayerSpec(
            AttentionSpec(num_heads, num_heads, hidden // num_heads, is_causal=False, has_biases=True),
            FeedForwardSpec(
                cfg.integer(config, "intermediate_size"), cfg.activation(config), is_gated=False, has_biases=True
            ),
            norm,
            norm_place="after",
        )
        return ModelSpec(
            family="bert",
            vocab=cfg.integer(config, "vocab_size"),
            hidden=hidden,
            max_positions=cfg.integer(config, "max_position_embeddings") - offset,
            layers=(layer,) * cfg.integer(config, "num_hidden_layers", maximum=cfg.MAX_LAYERS),
            input=InputSpec(
                learns_positions=True,
                position_offset=offset,
                num_token_types=cfg.integer(config, "type_vocab_size"),
                norm=norm,
            ),
            stored_bytes=cfg.stored_bytes(config),
            ties_table=bool(config.get("tie_word_embeddings", True)),
            token_memory_bytes=1200,
        )

    def layout(self, spec: ModelSpec) -> Layout:
        hidden = spec.hidden
        num_positions = spec.max_positions + spec.input.position_offset
        return Layout(
            table=VectorPart("table", "embeddings.word_embeddings.weight", (spec.vocab, hidden)),
            shared=(
                VectorPart("positions", "embeddings.position_embeddings.weight", (num_positions, hidden)),
                VectorPart(
                    "token_types", "embeddings.token_type_embeddings.weight", (spec.input.num_token_types, hidden)
                ),
                *norm_parts("input_norm", "embeddings.LayerNorm", hidden),
            ),
            vectors=(
                *norm_parts("attention_norm", "attention.output.LayerNorm", hidden),
                *norm_parts("mlp_norm", "output.LayerNorm", hidden),
            ),
            matrices=(
                MatrixPart(
                    "qkv",
                    ("attention.self.query", "attention.self.key", "attention.self.value"),
                    (hidden, hidden, hidden),
                    hidden,
                    bias=True,
                    rotates_inputs=True,
                    is_sensitive=is_small(spec),
                ),
                MatrixPart("o", ("attention.output.dense",), (hidden,), hidden, bias=True, rotates_inputs=True),
                MatrixPart(
                    "up",
                    ("intermediate.dense",),
                    (spec.intermediate,),
                    hidden,
                    bias=True,
                    rotates_inputs=True,
                    is_sensitive=is_small(spec),
                ),
                MatrixPart(
                    "down",
                    ("output.dense",),
                    (hidden,),
                    spec.intermediate,
                    bias=True,
                    input_group=GROUP_INPUTS,
                    rotates_inputs=True,
                ),
            ),
            layer_prefix="encoder.layer.{layer}.",
            num_layers=spec.num_layers,
            wrappers=("bert.", "roberta."),
            twins=("cls.predictions.decoder.weight", "lm_head.decoder.weight") if spec.ties_table else (),
            renamed=(("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")),
            # A pooler serves next-sentence prediction, cls. and lm_head. predict masked words: no part in vectors.
            optional=("pooler.", "cls.", "lm_head.", "embeddings.position_ids", "embeddings.token_type_ids"),
        )


def is_small(spec: ModelSpec) -> bool:
    """Whether the layers are small beside the token table, so that a finer format for a few matrices costs little."""
    return spec.hidden <= 1024 and spec.num_layers <= 12


def norm_parts(name: str, source: str, hidden: int) -> tuple[VectorPart, VectorPart]:
    return (
        VectorPart(f"{name}_gain", f"{source}.weight", (hidden,)),
        VectorPart(f"{name}_bias", f"{source}.bias", (hidden,)),
    )
