"""DistilBERT: BERT of half the layers, without token types, under names of its own.

Reference: https://arxiv.org/abs/1910.01108 and transformers' modeling_distilbert.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.models.families.bert import encoder_layout, encoder_spec
from farthing.models.layout import Layout
from farthing.models.spec import EmbeddingSpec, ModelSpec

KEYS = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
}
EPS = 1e-12  # transformers' code has this number, and config.json none


class DistilBertFamily:
    architectures = ("DistilBertModel", "DistilBertForMaskedLM")

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:  # noqa: ARG002
        return EmbeddingSpec(pooling="mean", max_tokens=512)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        # Sinusoidal positions are in the checkpoint's table as others are.
        return encoder_spec(config, "distilbert", keys=KEYS, eps=EPS, has_types=False)

    def layout(self, spec: ModelSpec) -> Layout:
        return encoder_layout(
            spec,
            layer_prefix="transformer.layer.{layer}.",
            wrappers=("distilbert.",),
            stems={
                "qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
                "o": ("attention.out_lin",),
                "up": ("ffn.lin1",),
                "down": ("ffn.lin2",),
                "attention_norm": ("sa_layer_norm",),
                "mlp_norm": ("output_layer_norm",),
            },
            # vocab_*: of the language model's head.
            optional=("pooler.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
            twins=("vocab_projector.weight",) if spec.ties_table else (),
        )
