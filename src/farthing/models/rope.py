"""Rotary position embedding (https://arxiv.org/abs/2104.09864): what config.json says of it, and its frequencies.

Scaled frequencies are those of transformers' modeling_rope_utils.py, and for "ntk" those of the modeling.py beside
Alibaba-NLP's gte models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from farthing.core.arrays import Array
from farthing.core.errors import CheckpointError
from farthing.models import config as cfg
from farthing.models.spec import RopeScaling, RopeSpec

LLAMA3_KEYS = ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def read_rope(config: Mapping[str, Any], default_theta: float | None = None) -> RopeSpec:
    """RoPE as `rope_theta` and `rope_scaling` say it, or transformers 5's `rope_parameters`.

    Raises `CheckpointError` for a scaling that is not computed, and where there is neither a base nor a default.
    """
    stated = cfg.table(config.get("rope_parameters") or config.get("rope_scaling"), "config.json: rope_parameters")
    theta = {"rope_theta": default_theta, **config, **stated} if default_theta else {**config, **stated}
    kind = stated.get("rope_type", stated.get("type", "default"))
    if kind == "default":
        scaling = None
    elif kind in ("linear", "ntk"):
        scaling = RopeScaling(kind, cfg.number(stated, "factor"))
    elif kind == "llama3":
        scaling = RopeScaling(kind, cfg.number(stated, "factor"), *(cfg.number(stated, key) for key in LLAMA3_KEYS))
    else:
        raise CheckpointError(
            f"config.json: RoPE of type {cfg.shown(kind)} is not built; remove rope_scaling or take another model."
        )
    return RopeSpec(cfg.number(theta, "rope_theta"), scaling=scaling)


def frequencies(rope: RopeSpec, head_dim: int) -> Array:
    """[head_dim / 2] fp32; computed in fp32, as transformers does: for late positions that makes a difference."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    found: Array = np.float32(1.0) / np.power(np.float32(rope.base), exponents)
    return found if rope.scaling is None else scaled(found, rope.scaling, head_dim)


def scaled(found: Array, scaling: RopeScaling, head_dim: int) -> Array:
    """The frequencies `found` [head_dim / 2] fp32, made slower."""
    if scaling.kind == "linear":
        return found / np.float32(scaling.factor)
    if scaling.kind == "ntk":
        return found / np.float32(scaling.factor ** (2 / head_dim))
    assert scaling.kind == "llama3"
    low, high, positions = scaling.low_factor, scaling.high_factor, scaling.original_positions
    slow = found / np.float32(scaling.factor)
    lengths = np.float32(2 * math.pi) / found  # of a whole turn, in positions
    share = (np.float32(positions) / lengths - np.float32(low)) / np.float32(high - low)
    between = (1 - share) * slow + share * found
    return np.where(lengths > positions / low, slow, np.where(lengths < positions / high, found, between))


def rotary_tables(positions: Array, head_dim: int, rope: RopeSpec) -> tuple[Array, Array]:
    """cos and sin [n, head_dim / 2] fp32 for positions [n]."""
    angles = positions.astype(np.float32)[:, None] * frequencies(rope, head_dim)
    return np.cos(angles), np.sin(angles)
