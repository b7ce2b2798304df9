"""MPNet: BERT without token types, with a learned number added to attention for each range of distances.

Reference: https://arxiv.org/abs/2004.09297 and transformers' modeling_mpnet.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from farthing.models import config as cfg
from farthing.models.distance_bias import BUCKETS
from farthing.models.families.bert import encoder_layout, encoder_spec
from farthing.models.layout import Layout, VectorPart
from farthing.models.spec import DistanceBiasSpec, EmbeddingSpec, ModelSpec


class MPNetFamily:
    architectures = ("MPNetModel", "MPNetForMaskedLM")

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:  # noqa: ARG002
        return EmbeddingSpec(pooling="mean", max_tokens=512)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        spec = encoder_spec(config, "mpnet", has_types=False)
        buckets = DistanceBiasSpec("buckets", cfg.integer(config, "relative_attention_num_buckets", 32, minimum=4))
        layer = spec.layers[0]
        layer = replace(layer, attention=replace(layer.attention, bias_by_distance=buckets))
        return replace(spec, layers=(layer,) * spec.num_layers)

    def layout(self, spec: ModelSpec) -> Layout:
        layout = encoder_layout(
            spec,
            layer_prefix="encoder.layer.{layer}.",
            wrappers=("mpnet.",),
            stems={
                "qkv": ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
                "o": ("attention.attn.o",),
                "up": ("intermediate.dense",),
                "down": ("output.dense",),
                "attention_norm": ("attention.LayerNorm",),
                "mlp_norm": ("output.LayerNorm",),
            },
            optional=("pooler.", "lm_head.", "embeddings.position_ids"),
            twins=("lm_head.decoder.weight",) if spec.ties_table else (),
        )
        bias = spec.layers[0].attention.bias_by_distance
        assert bias is not None
        shape = (bias.num_buckets, spec.num_heads)
        return replace(
            layout, shared=(*layout.shared, VectorPart(BUCKETS, "encoder.relative_attention_bias.weight", shape))
        )
