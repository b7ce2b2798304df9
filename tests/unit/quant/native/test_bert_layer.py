"""The native BERT layer against the same arithmetic in numpy, on every instruction set this CPU has."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from arithmetic import attend_texts, bidirectional_shape, grouped_linear, int8_linear, rotated, starts

from farthing.quant.native.arguments import LayerShape, NativeBatch, NativeWeights
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import LIBRARY

SHAPES = [
    bidirectional_shape(128, 192, 4, "gelu", 1e-12),
    bidirectional_shape(192, 512, 3, "gelu_tanh", 1e-5),
    bidirectional_shape(384, 640, 4, "silu", 1e-5),
]
LENGTHS = [
    [1],
    [2],
    [14],
    [15],
    [31],
    [32],
    [33],
    [126],
    [127],
    [512],
    [1, 33, 7, 64, 31, 200, 2, 5],
    [3] * 90,
    [40, 0],
]
VECTORS = ("down_bias", "attention_norm_gain", "attention_norm_bias", "mlp_norm_gain", "mlp_norm_bias")
# A value on the edge between two int8 steps may fall either way; a flipped one shows in its row at about 0.5%.
FLIPPED = 2e-2


def activate(x: np.ndarray, name: str) -> np.ndarray:
    if name == "silu":
        return x / (1 + np.exp(-x))
    if name == "gelu_tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))


def layer_norm(x: np.ndarray, gain: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    x = x.astype(np.float64)
    centred = x - x.mean(-1, keepdims=True)
    return (centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * gain + bias).astype(np.float32)


def layer(x: np.ndarray, w: dict[str, np.ndarray], shape: LayerShape, lengths: list[int]) -> np.ndarray:
    qkv = int8_linear(rotated(x), w["qkv"]) + w["qkv_bias"]
    q, k, v = (part.reshape(len(x), shape.q_heads, -1) for part in np.split(qkv, 3, axis=1))
    attended = attend_texts(q, k, v, lengths, causal=False).reshape(len(x), -1)
    x = x + int8_linear(rotated(attended), w["o"]) + w["o_bias"]
    x = layer_norm(x, w["attention_norm_gain"], w["attention_norm_bias"], shape.norm_eps)
    inner = activate(int8_linear(rotated(x), w["up"]) + w["up_bias"], shape.activation).astype(np.float32)
    x = x + grouped_linear(rotated(inner), w["down"]) + w["down_bias"]
    return layer_norm(x, w["mlp_norm_gain"], w["mlp_norm_bias"], shape.norm_eps)


def random_layer(kernels: NativeKernels, shape: LayerShape) -> tuple[dict[str, np.ndarray], NativeWeights]:
    """Rotated weights as plain numbers, and packed."""
    rng = np.random.default_rng(0)
    hidden, inner = shape.hidden, shape.intermediate
    sizes = {"qkv": (3 * hidden, hidden), "o": (hidden, hidden), "up": (inner, hidden), "down": (hidden, inner)}
    w = {name: rng.standard_normal(size).astype(np.float32) / math.sqrt(size[1]) for name, size in sizes.items()}
    given = {name: kernels.pack("int8", weight) for name, weight in w.items()}
    vectors = {f"{name}_bias": 0.5 * rng.standard_normal(size[0]) for name, size in sizes.items()}
    for norm in ("attention_norm", "mlp_norm"):
        vectors[f"{norm}_gain"] = 1 + 0.2 * rng.standard_normal(hidden)
        vectors[f"{norm}_bias"] = 0.2 * rng.standard_normal(hidden)
    for name, vector in vectors.items():
        w[name] = given[name] = vector.astype(np.float32)
    return w, NativeWeights(**given)


def random_rows(shape: LayerShape, lengths: list[int]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((sum(lengths), shape.hidden)).astype(np.float32)


def run(
    kernels: NativeKernels,
    shape: LayerShape,
    weights: NativeWeights,
    x: np.ndarray,
    lengths: list[int],
    keep: np.ndarray | None = None,
) -> np.ndarray:
    hidden = x.copy()
    kernels.layers(shape, [weights], NativeBatch(starts(lengths), keep=keep), hidden)
    return hidden


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"d{s.hidden // s.q_heads}-{s.activation}")
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_a_layer_is_the_same_arithmetic_as_the_reference(
    kernels: NativeKernels, shape: LayerShape, lengths: list[int]
) -> None:
    w, packed = random_layer(kernels, shape)
    x = random_rows(shape, lengths)
    want, got = layer(x, w, shape, lengths), run(kernels, shape, packed, x, lengths)
    errors = np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)
    assert errors.max() < FLIPPED
    assert errors.min() < 1e-4 or len(errors) < 8


def test_only_kept_rows_are_brought_through(kernels: NativeKernels) -> None:
    shape, lengths = SHAPES[0], [1, 33, 7, 64, 31, 200, 2, 5]
    _, packed = random_layer(kernels, shape)
    x = random_rows(shape, lengths)
    whole = run(kernels, shape, packed, x, lengths)
    for keep in (np.cumsum([0, *lengths[:-1]], dtype=np.int32), np.arange(0, len(x), 2, dtype=np.int32)):
        got = run(kernels, shape, packed, x, lengths, keep)
        np.testing.assert_array_equal(got[keep], whole[keep])
        others = np.delete(np.arange(len(x)), keep)
        np.testing.assert_array_equal(got[others], x[others])


@pytest.mark.parametrize("lengths", [[9], [40, 60], [300, 2, 150]], ids=str)
def test_any_number_of_threads_gives_the_same_rows(kernels: NativeKernels, lengths: list[int]) -> None:
    shape = SHAPES[1]
    _, packed = random_layer(kernels, shape)
    x = random_rows(shape, lengths)
    want = run(kernels, shape, packed, x, lengths)
    for num_threads in (1, 3):
        other = NativeKernels(LIBRARY, num_threads, kernels.isa)
        np.testing.assert_array_equal(run(other, shape, packed, x, lengths), want)
        other.close()


def test_a_text_gives_the_same_rows_in_any_company(kernels: NativeKernels) -> None:
    shape = SHAPES[0]
    _, packed = random_layer(kernels, shape)
    x = random_rows(shape, [20, 45, 130])
    together = run(kernels, shape, packed, x, [20, 45, 130])
    np.testing.assert_array_equal(run(kernels, shape, packed, x[20:65], [45]), together[20:65])


def test_nan_stays_in_its_text(kernels: NativeKernels) -> None:
    shape, lengths = SHAPES[0], [5, 40, 100]
    _, packed = random_layer(kernels, shape)
    x = random_rows(shape, lengths)
    want = run(kernels, shape, packed, x, lengths)
    x[7, 3] = np.nan
    got = run(kernels, shape, packed, x, lengths)
    assert np.isnan(got[5:45]).all()
    np.testing.assert_array_equal(np.delete(got, np.s_[5:45], axis=0), np.delete(want, np.s_[5:45], axis=0))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.activation)
def test_activations_are_accurate_to_fp32(kernels: NativeKernels, shape: LayerShape) -> None:
    # One argument for all inner channels, +-1 / intermediate for all weights: nothing is lost to int8. With a huge eps
    # and a gain to match, LayerNorm only subtracts the mean, which is zero.
    signs = np.ones(shape.hidden, np.float32)
    signs[::2] = -1
    down = np.repeat(signs[:, None] / np.float32(shape.intermediate), shape.intermediate, axis=1)
    _, packed = random_layer(kernels, shape)
    plain = {name: np.zeros_like(getattr(packed, name)) for name in VECTORS}
    weights = replace(packed, **plain, down=kernels.pack("int8", rotated(down)))
    weights = replace(weights, mlp_norm_gain=np.full(shape.hidden, 1e6, np.float32))
    nothing = kernels.pack("int8", np.zeros((shape.intermediate, shape.hidden), np.float32))
    arguments = np.concatenate((np.linspace(-8, 8, 161), [-40, -1e-3, 1e-6, 1e-3, 40])).astype(np.float32)
    got = []
    for argument in arguments:
        up = {"up": nothing, "up_bias": np.full_like(packed.up_bias, argument)}
        rows = np.zeros((1, shape.hidden), np.float32)
        got.append(run(kernels, replace(shape, norm_eps=1e12), replace(weights, **up), rows, [1])[0] * signs)
    errors = np.abs(np.stack(got) - activate(arguments.astype(np.float64), shape.activation)[:, None]).max(1)
    assert (errors / np.maximum(1, np.abs(arguments))).max() < 1e-6
