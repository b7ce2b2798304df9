"""A model family that there is not, to show that one is a file and a row.

It is bidirectional, with RMSNorm before the halves, learned positions, a head of keys for two of queries, a plain
feed-forward part, and nothing with a bias.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from farthing.checkpoint.writer import TensorSpec, write_tensors
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
from farthing.models.synth.tokenizer import tokenizer_json
from farthing.quant.int8_packed import GROUP_INPUTS

VOCAB = 400
CONFIG: dict[str, Any] = {
    "architectures": ["ToyModel"], "words": VOCAB, "places": 128, "width": 128, "depth": 3, "heads": 4, "inner": 192,
}  # fmt: skip


class ToyFamily:
    architectures = ("ToyModel",)

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:  # noqa: ARG002
        return EmbeddingSpec(pooling="mean", max_tokens=128)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        hidden, heads, norm = cfg.integer(config, "width"), cfg.integer(config, "heads"), NormSpec("rms", 1e-6)
        layer = LayerSpec(
            AttentionSpec(heads, heads // 2, hidden // heads, is_causal=False),
            FeedForwardSpec(cfg.integer(config, "inner"), "gelu", is_gated=False),
            norm,
            norm_place="before",
        )
        return ModelSpec(
            "toy",
            cfg.integer(config, "words"),
            hidden,
            cfg.integer(config, "places"),
            (layer,) * cfg.integer(config, "depth"),
            InputSpec(learns_positions=True),
            last_norm=norm,
        )

    def layout(self, spec: ModelSpec) -> Layout:
        hidden, inner = spec.hidden, spec.intermediate
        return Layout(
            table=VectorPart("table", "words", (spec.vocab, hidden)),
            shared=(
                VectorPart("positions", "places", (spec.max_positions, hidden)),
                VectorPart("last_norm_gain", "gain", (hidden,)),
            ),
            vectors=(
                VectorPart("attention_norm_gain", "first_gain", (hidden,)),
                VectorPart("mlp_norm_gain", "second_gain", (hidden,)),
            ),
            matrices=(
                MatrixPart("qkv", ("q", "k", "v"), (spec.q_width, spec.kv_width, spec.kv_width), hidden),
                MatrixPart("o", ("o",), (hidden,), spec.q_width),
                MatrixPart("up", ("up",), (inner,), hidden),
                MatrixPart("down", ("down",), (hidden,), inner, input_group=GROUP_INPUTS, rotates_inputs=True),
            ),
            layer_prefix="layer.{layer}.",
            num_layers=spec.num_layers,
            wrappers=(),
        )


def write_toy(folder: Path) -> Path:
    """A checkpoint of the family with seeded weights."""
    family, source = ToyFamily(), np.random.default_rng(5)
    specs = []
    for name, shape in family.layout(family.spec(CONFIG)).tensors():
        drawn = source.normal(1.0 if len(shape) == 1 else 0.0, shape[-1] ** -0.5, shape).astype(np.float32)
        specs.append(TensorSpec(name, shape, drawn.dtype, lambda drawn=drawn: drawn))
    write_tensors(folder, specs)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(appends_end=False, vocab=VOCAB)))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def toy_vector(weights: Mapping[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """What the family computes, in plain NumPy, for one text: its unit vector [width]."""
    width, heads = CONFIG["width"], CONFIG["heads"]
    head_dim = width // heads
    x = weights["words"][ids] + weights["places"][: len(ids)]
    for number in range(CONFIG["depth"]):
        w = {name: weights[f"layer.{number}.{name}"] for name in ("first_gain", "second_gain")}
        w |= {name: weights[f"layer.{number}.{name}.weight"] for name in ("q", "k", "v", "o", "up", "down")}
        normed = rms_norm(x, w["first_gain"])
        q = (normed @ w["q"].T).reshape(len(ids), heads, head_dim)
        k, v = ((normed @ w[name].T).reshape(len(ids), heads // 2, head_dim).repeat(2, axis=1) for name in ("k", "v"))
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(head_dim)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        attended = np.einsum("hij,jhd->ihd", scores / scores.sum(-1, keepdims=True), v).reshape(len(ids), width)
        x = x + attended @ w["o"].T
        inner = gelu(rms_norm(x, w["second_gain"]) @ w["up"].T)
        x = x + inner @ w["down"].T
    pooled = rms_norm(x, weights["gain"]).mean(0)
    return pooled / np.linalg.norm(pooled)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def rms_norm(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * gain
