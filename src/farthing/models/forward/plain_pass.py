"""A batch's way through the layers in plain numpy, one matrix at a time: what rounding by a model's own rows needs.

It computes what a spec says, in fp32, and is slow. Whole layers are computed by `farthing.models.forward.native_pass`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from farthing.core.arrays import Array
from farthing.models.batch.packed import PackedBatch
from farthing.models.distance_bias import bias_table
from farthing.models.rope import rotary_tables
from farthing.models.spec import AttentionSpec, LayerSpec, ModelSpec, NormSpec

Product = Callable[[Array], Array]  # rows [n, in] fp32 -> [n, out] fp32


class PlainPass:
    """Holds the residual stream [tokens, hidden] of one batch, whose segments are whole texts."""

    def __init__(self, spec: ModelSpec, batch: PackedBatch, hidden: Array, learned: Array | None = None) -> None:
        """`learned`: what `farthing.models.distance_bias` takes for buckets."""
        assert batch.prefixes is None, "each text stands alone here"
        self._spec, self._batch, self.hidden, self._learned = spec, batch, hidden, learned
        self._num_layers_done = 0

    def layer(self, matrices: Mapping[str, Product], vectors: Mapping[str, Array]) -> None:
        """Go through the next layer; each matrix is called once, with the rows of all tokens."""
        spec = self._spec.layers[self._num_layers_done]
        self._num_layers_done += 1
        self._half(spec, vectors, "attention", lambda x: matrices["o"](self._attend(spec, matrices["qkv"](x), vectors)))
        self._half(spec, vectors, "mlp", lambda x: feed_forward(spec, x, matrices))

    def _half(self, spec: LayerSpec, vectors: Mapping[str, Array], name: str, compute: Product) -> None:
        """Add what a half of the layer makes, with the norms that stand around it."""
        x, place = self.hidden, spec.norm_place
        if place != "after" and f"{name}_norm_gain" in vectors:
            x = normalised(x, spec.norm, vectors, f"{name}_norm")
        added = compute(x)
        if place == "both":
            added = normalised(added, spec.norm, vectors, f"{name}_added")
        self.hidden = self.hidden + added
        if place == "after":
            self.hidden = normalised(self.hidden, spec.norm, vectors, f"{name}_norm")

    def _attend(self, spec: LayerSpec, qkv: Array, vectors: Mapping[str, Array]) -> Array:
        """Attention's result [tokens, q_width] of queries, keys and values [tokens, q_width + 2 kv_width]."""
        attention, num_tokens = spec.attention, len(qkv)
        heads = qkv.reshape(num_tokens, -1, attention.head_dim)
        q, k, v = np.split(heads, [attention.num_heads, attention.num_heads + attention.num_kv_heads], axis=1)
        if attention.head_norm is not None:
            q = rms_norm(q, vectors["q_norm"], attention.head_norm.eps)
            k = rms_norm(k, vectors["k_norm"], attention.head_norm.eps)
        if attention.rope is not None:
            cos, sin = rotary_tables(self._batch.positions, attention.head_dim, attention.rope)
            q, k = turned(q, cos, sin), turned(k, cos, sin)
        group = attention.num_heads // attention.num_kv_heads
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        found = np.empty_like(q)
        for first, after in zip(self._batch.cu_seqlens, self._batch.cu_seqlens[1:], strict=False):
            tokens = slice(first, after)
            found[tokens] = attend(q[tokens], k[tokens], v[tokens], attention, self._learned)
        return found.reshape(num_tokens, -1)


def attend(q: Array, k: Array, v: Array, spec: AttentionSpec, learned: Array | None = None) -> Array:
    """Attention within one text; all are [tokens, heads, head_dim]. `learned`: as `bias_table` takes it."""
    queries, keys, values = (part.transpose(1, 0, 2) for part in (q, k, v))
    scores = queries @ keys.transpose(0, 2, 1) * np.float32(spec.product_scale)  # [heads, tokens, tokens]
    places = np.arange(len(q))
    distances = places[None] - places[:, None]  # key - query
    if spec.bias_by_distance is not None:
        scores += bias_table(spec.bias_by_distance, spec.num_heads, len(q), learned)[:, distances + len(q)]
    if spec.is_causal:
        scores[:, distances > 0] = -np.inf
    if spec.window is not None:
        scores[:, abs(distances) > spec.window] = -np.inf
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    found: Array = (scores @ values).transpose(1, 0, 2)
    return found


def feed_forward(spec: LayerSpec, x: Array, matrices: Mapping[str, Product]) -> Array:
    activation = ACTIVATIONS[spec.feed_forward.activation]
    if not spec.feed_forward.is_gated:
        return matrices["down"](activation(matrices["up"](x)))
    gate, up = np.split(matrices["gate_up"](x), 2, axis=1)  # [rows, width] each
    return matrices["down"](activation(gate) * up)


def normalised(x: Array, norm: NormSpec, vectors: Mapping[str, Array], name: str) -> Array:
    """x [..., width] after the norm whose vectors have this name."""
    gain, bias = vectors[f"{name}_gain"], vectors.get(f"{name}_bias")
    return rms_norm(x, gain, norm.eps) if norm.kind == "rms" else layer_norm(x, gain, bias, norm.eps)


def rms_norm(x: Array, gain: Array, eps: float) -> Array:
    """x [..., width] divided by its root mean square, times gain [width]."""
    found: Array = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(eps)) * gain
    return found


def layer_norm(x: Array, gain: Array, bias: Array | None, eps: float) -> Array:
    """x [..., width] with mean 0 and variance 1, times gain plus bias, if there is one."""
    centred = x - x.mean(-1, keepdims=True)
    found: Array = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(eps)) * gain
    return found if bias is None else found + bias


def turned(x: Array, cos: Array, sin: Array) -> Array:
    """x [tokens, heads, head_dim] turned by the angles of each token; halves are paired (i, i + head_dim / 2)."""
    first, second = np.split(x, 2, axis=-1)
    cos, sin = cos[:, None], sin[:, None]
    return np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)


def silu(x: Array) -> Array:
    found: Array = x / (1 + np.exp(-np.clip(x, -88, None)))
    return found


def gelu(x: Array) -> Array:
    """x Phi(x), with erf as a rational function whose error is below 3e-7 (native/src/activation.h)."""
    z = np.clip(x * np.float32(0.70710678), -3.832506856900711, 3.832506856900711).astype(np.float32)
    s = z * z
    p = polynomial(s, ERF_NUMERATOR)
    found: Array = x * (1 + z * p / polynomial(s, ERF_DENOMINATOR)) / 2
    return found


def gelu_tanh(x: Array) -> Array:
    found: Array = x * (1 + np.tanh(np.float32(0.7978845608) * (x + np.float32(0.044715) * x**3))) / 2
    return found


# Coefficients of Eigen's generic_fast_erf_float, the highest power first.
ERF_NUMERATOR = (
    0.00022905065861350646,
    0.0034082910107109506,
    0.050955695062380861,
    0.18520832239976145,
    1.128379143519084,
)
ERF_DENOMINATOR = (
    -1.1791602954361697e-7, 0.000023547966471313185, 0.0010179625278914885, 0.014070470171167667, 0.11098505178285362,
    0.49746925110067538, 1.0,
)  # fmt: skip
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {"silu": silu, "gelu": gelu, "gelu_tanh": gelu_tanh}


def polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    found = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        found = found * x + np.float32(coefficient)
    return found
