"""Layers of any spec: what they compute, in numpy, and random ones, packed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from arithmetic import attend_texts, attention, bf16, grouped_linear, int8_linear, rope_tables, rotated, starts

from farthing.core.arrays import to_bf16, to_float32
from farthing.quant.native.arguments import KEY_PANEL, LayerShape, NativeBatch, NativePrefixes, NativeWeights
from farthing.quant.native.binding import NativeKernels

POSITIONS = 1100
REACH = 600  # the farthest apart that tokens of a text are here
MATRICES = ("qkv", "o", "up", "down")
STORED = {"fp32": np.asarray, "bf16": to_bf16, "fp16": lambda x: x.astype(np.float16), "int8": np.asarray}


def activate(x: np.ndarray, name: str) -> np.ndarray:
    if name == "silu":
        return x / (1 + np.exp(-x))
    if name == "gelu_tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))


def normed(x: np.ndarray, kind: str, eps: float, gain: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    if kind == "rms":
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * gain
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * gain + (0 if bias is None else bias)


def turned(heads: np.ndarray, positions: np.ndarray) -> np.ndarray:  # [tokens, heads, head_dim]
    half = heads.shape[-1] // 2
    cos, sin = (table[positions][:, None] for table in rope_tables(POSITIONS, heads.shape[-1]))
    a, b = heads[..., :half], heads[..., half:]
    return np.concatenate((a * cos - b * sin, b * cos + a * sin), -1)


def windowed_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, layer: AnyLayer) -> np.ndarray:
    """Of one text [tokens, heads, head_dim], with all that a layer can say of it; in int8 with bf16 factors."""
    s, places = layer.shape, np.arange(len(q))
    rounded = bf16 if s.form == "int8" else np.asarray
    distances = places[None] - places[:, None]  # key - query
    k, v = (rounded(np.repeat(part, s.q_heads // s.kv_heads, axis=1)).astype(np.float64) for part in (k, v))
    scale = math.log2(math.e) * (s.query_scale or s.head_dim**-0.5)
    scores = np.einsum("qhd,khd->hqk", rounded((q * scale).astype(q.dtype)), k)
    if layer.distance_bias is not None:
        scores += layer.distance_bias[:, distances + REACH]
    seen = (abs(distances) <= (s.window or len(q))) & (distances <= (0 if s.is_causal else len(q)))
    scores = np.where(seen, scores, -np.inf)
    p = np.exp2(scores - scores.max(-1, keepdims=True, initial=-1e300))
    return rounded(np.einsum("hqk,khd->qhd", rounded(p), v) / p.sum(-1).T[..., None])


def exact_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool) -> np.ndarray:
    group = q.shape[1] // k.shape[1]
    scores = np.einsum("qhd,khd->hqk", q, np.repeat(k, group, axis=1)) / math.sqrt(q.shape[2])
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True, initial=-1e300))
    return np.einsum("hqk,khd->qhd", p / p.sum(-1, keepdims=True), np.repeat(v, group, axis=1))


@dataclass(frozen=True)
class AnyLayer:
    """Random weights: as plain numbers, and packed. Inputs that are rotated meet weights that are not: the numbers are
    random either way."""

    shape: LayerShape
    numbers: dict[str, np.ndarray]
    packed: NativeWeights
    distance_bias: np.ndarray | None = None

    def expected(self, x: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
        """In fp64, but for what int8 rounds."""
        w, s = self.numbers, self.shape
        x = x.astype(np.float64)
        enters_as_it_is = s.norms_sums or "attention_norm_gain" not in w
        entered = x if enters_as_it_is else self._norm(x, "attention_norm")
        heads = self._linear(entered, "qkv", rotates=s.rotates_hidden).reshape(len(x), -1, s.head_dim)
        q, k, v = np.split(heads, [s.q_heads, s.q_heads + s.kv_heads], axis=1)
        eps = s.norm_eps if s.head_norm_eps is None else s.head_norm_eps
        if s.norms_heads:
            q, k = normed(q, "rms", eps, w["q_norm"]), normed(k, "rms", eps, w["k_norm"])
        if s.turns_heads:
            positions = np.concatenate([np.arange(n) for n in lengths])
            q, k = turned(q, positions), turned(k, positions)
        attended = attend_texts(q, k, v, list(lengths), s.is_causal, self._attention())
        x = x + self._added(self._linear(attended.reshape(len(x), -1), "o", rotates=s.rotates_attended), "attention")
        if s.norms_sums:
            x = entered = self._norm(x, "attention_norm")
        else:
            entered = self._norm(x, "mlp_norm")
        up = self._linear(entered, "up", rotates=s.rotates_hidden)
        gate, up = np.split(up, 2, axis=1) if s.is_gated else (up, np.ones(()))
        x = x + self._added(self._linear(activate(gate, s.activation) * up, "down", rotates=s.rotates_inner), "mlp")
        return self._norm(x, "mlp_norm") if s.norms_sums else x

    def _attention(self) -> Callable[..., np.ndarray]:
        s = self.shape
        if s.window or s.query_scale or self.distance_bias is not None:
            return lambda q, k, v, _: windowed_attention(q, k, v, self)
        return attention if s.form == "int8" else exact_attention

    def _added(self, rows: np.ndarray, half: str) -> np.ndarray:
        return self._norm(rows, f"{half}_added") if self.shape.norms_added else rows

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        s, w = self.shape, self.numbers
        return normed(x, s.norm, s.norm_eps, w[f"{name}_gain"], w.get(f"{name}_bias"))

    def _linear(self, x: np.ndarray, name: str, *, rotates: bool) -> np.ndarray:
        weight, bias = self.numbers[name], self.numbers.get(f"{name}_bias", 0)
        if self.shape.form != "int8":
            return x @ weight.T.astype(np.float64) + bias
        x = x.astype(np.float32)
        return (grouped_linear if name == "down" else int8_linear)(rotated(x) if rotates else x, weight) + bias

    def run(
        self,
        kernels: NativeKernels,
        x: np.ndarray,
        lengths: Sequence[int],
        keep: np.ndarray | None = None,
        prefixes: NativePrefixes | None = None,
    ) -> np.ndarray:
        hidden, tables = x.copy(), (None, None)
        if self.shape.turns_heads:
            tables = rope_tables(POSITIONS, self.shape.head_dim)
        batch = NativeBatch(starts(list(lengths)), *tables, keep, prefixes, self.distance_bias)
        kernels.layers(self.shape, [self.packed], batch, hidden)
        return hidden


def make_layer(kernels: NativeKernels, shape: LayerShape, biases: Sequence[str] = (), seed: int = 0) -> AnyLayer:
    """`biases`: the matrices that have biases; "no norms" for norms without, "distance" for products that depend on the
    distance, and "entering" for rows that enter attention without a norm."""
    rng = np.random.default_rng(seed)
    q_width, kv_width = shape.q_heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sizes = {
        "qkv": (q_width + 2 * kv_width, shape.hidden),
        "o": (shape.hidden, q_width),
        "up": ((1 + shape.is_gated) * shape.intermediate, shape.hidden),
        "down": (shape.hidden, shape.intermediate),
    }
    numbers, given = {}, {}
    for name, size in sizes.items():
        weight = STORED[shape.form]((rng.standard_normal(size) / math.sqrt(size[1])).astype(np.float32))
        numbers[name], given[name] = to_float32(weight), kernels.pack(shape.form, weight)
        if name in biases:
            numbers[f"{name}_bias"] = (0.5 * rng.standard_normal(size[0])).astype(np.float32)
    norms = ["mlp_norm"] if "entering" in biases else ["attention_norm", "mlp_norm"]
    for norm in [*norms, "attention_added", "mlp_added"] if shape.norms_added else norms:
        numbers[f"{norm}_gain"] = (1 + 0.2 * rng.standard_normal(shape.hidden)).astype(np.float32)
        if shape.norm == "layer" and "no norms" not in biases:
            numbers[f"{norm}_bias"] = (0.2 * rng.standard_normal(shape.hidden)).astype(np.float32)
    for norm in ("q_norm", "k_norm") if shape.norms_heads else ():
        numbers[norm] = (1 + 0.2 * rng.standard_normal(shape.head_dim)).astype(np.float32)
    vectors = {"attention_norm_gain": None, **{name: numbers[name] for name in numbers if name not in MATRICES}}
    distance_bias = None
    if "distance" in biases:
        distance_bias = rng.standard_normal((shape.q_heads, 2 * REACH + KEY_PANEL)).astype(np.float32)
    return AnyLayer(shape, numbers, NativeWeights(**given, **vectors), distance_bias)


def random_rows(shape: LayerShape, num_tokens: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num_tokens, shape.hidden)).astype(np.float32)


def largest_error(got: np.ndarray, want: np.ndarray) -> float:
    """Of any row, relative to the row."""
    return float((np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)).max(initial=0))
