"""What the kernels compute, in numpy: the same rounding, none of the tricks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing.quant.native.arguments import LayerShape
from farthing.quant.rotation import rotate


def quantize(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.abs(rows).max(axis=-1, keepdims=True) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    return np.rint(rows * inverse), scale


def grouped_linear(x: np.ndarray, weight: np.ndarray, group: int = 256) -> np.ndarray:
    parts = [quantize(x[:, i : i + group]) for i in range(0, x.shape[1], group)]
    x = np.concatenate([q * s for q, s in parts], axis=1)
    qw, sw = quantize(weight)
    return ((x.astype(np.float64) @ qw.T.astype(np.float64)) * sw.T).astype(np.float32)


def int8_linear(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    (qx, sx), (qw, sw) = quantize(x), quantize(weight)
    return ((qx.astype(np.float64) @ qw.T.astype(np.float64)) * (sx * sw.T)).astype(np.float32)


def rotated(x: np.ndarray) -> np.ndarray:
    return rotate(x)


def bf16(x: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool) -> np.ndarray:  # [tokens, heads, head_dim]
    """With bf16 factors, as in layers of int8."""
    length, heads, dim = q.shape
    if length == 0:
        return q
    group = heads // k.shape[1]
    k, v = (bf16(np.repeat(t, group, axis=1)).astype(np.float64) for t in (k, v))
    scores = np.einsum("qhd,khd->hqk", bf16(q * np.float32(1.4426950408889634 / np.sqrt(dim))), k)
    if causal:
        scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
    p = np.exp2(scores - scores.max(-1, keepdims=True))
    return bf16(np.einsum("hqk,khd->qhd", bf16(p), v) / p.sum(-1).T[..., None])


def attend_texts(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    lengths: list[int],
    causal: bool,
    attend: Callable[..., np.ndarray] = attention,
) -> np.ndarray:
    bounds = np.cumsum(lengths)[:-1]
    parts = zip(*(np.split(t, bounds) for t in (q, k, v)), strict=True)
    return np.concatenate([attend(*part, causal) for part in parts])


def distance(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def causal_shape(hidden: int, intermediate: int, q_heads: int, kv_heads: int, head_dim: int, eps: float) -> LayerShape:
    """Of a Qwen3 layer in int8."""
    widths = hidden, intermediate, q_heads, kv_heads, head_dim
    return LayerShape(*widths, "rms", False, True, True, True, True, "silu", eps, rotates_inner=True)


def bidirectional_shape(hidden: int, intermediate: int, heads: int, activation: str, eps: float) -> LayerShape:
    """Of a BERT layer in int8."""
    widths = hidden, intermediate, heads, heads, hidden // heads
    rotated = dict.fromkeys(("rotates_hidden", "rotates_attended", "rotates_inner"), True)
    return LayerShape(*widths, "layer", True, False, False, False, False, activation, eps, **rotated)


def rope_tables(positions: int, head_dim: int) -> tuple[np.ndarray, np.ndarray]:
    angles = np.outer(np.arange(positions), 1e6 ** (-np.arange(0, head_dim, 2) / head_dim))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def starts(lengths: list[int]) -> np.ndarray:
    return np.cumsum([0, *lengths]).astype(np.int32)
