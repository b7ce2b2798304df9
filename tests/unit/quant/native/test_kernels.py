"""The native kernels against the same arithmetic in numpy, on every instruction set this CPU has."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
import torch
from arithmetic import (
    attend_texts,
    bf16,
    causal_shape,
    distance,
    grouped_linear,
    int8_linear,
    rope_tables,
    rotated,
    starts,
)

from farthing.core.arrays import to_bf16
from farthing.quant.native.arguments import LayerShape, NativeBatch, NativeWeights
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import LIBRARY

EPS = 1e-6


def linear(kernels: NativeKernels, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    return kernels.linear("int8", x, kernels.pack("int8", weight), weight.shape[0], bias)


def rms_norm(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
    return (x / np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True) + EPS) * gain).astype(np.float32)


def rotate(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:  # x [tokens, heads, head_dim]
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate((a * cos - b * sin, b * cos + a * sin), -1)


def layer(
    x: np.ndarray, w: dict[str, np.ndarray], spec: LayerShape, lengths: list[int], cos: np.ndarray, sin: np.ndarray
) -> np.ndarray:
    qw, kw = spec.q_heads * spec.head_dim, spec.kv_heads * spec.head_dim
    qkv = int8_linear(rms_norm(x, w["attention_norm_gain"]), w["qkv"])
    q, k, v = np.split(qkv.reshape(len(x), -1, spec.head_dim), [spec.q_heads, spec.q_heads + spec.kv_heads], axis=1)
    positions = np.concatenate([np.arange(n) for n in lengths])
    c, s = cos[positions][:, None], sin[positions][:, None]
    q, k = rotate(rms_norm(q, w["q_norm"]), c, s), rotate(rms_norm(k, w["k_norm"]), c, s)
    attended = attend_texts(q, k, v, lengths, causal=True).reshape(len(x), qw)
    assert kw == v.shape[1] * spec.head_dim
    x = x + int8_linear(attended, w["o"])
    gate, up = np.split(int8_linear(rms_norm(x, w["mlp_norm_gain"]), w["up"]), 2, axis=-1)
    return x + grouped_linear(rotated(gate / (1 + np.exp(-gate)) * up), w["down"])


def random_layer(
    kernels: NativeKernels, spec: LayerShape, seed: int = 0
) -> tuple[dict[str, np.ndarray], NativeWeights]:
    rng = np.random.default_rng(seed)
    qw, kw = spec.q_heads * spec.head_dim, spec.kv_heads * spec.head_dim
    shapes = {
        "qkv": (qw + 2 * kw, spec.hidden),
        "o": (spec.hidden, qw),
        "up": (2 * spec.intermediate, spec.hidden),
        "down": (spec.hidden, spec.intermediate),
    }
    w = {name: (rng.standard_normal(shape) / np.sqrt(shape[1])).astype(np.float32) for name, shape in shapes.items()}
    packed = {name: kernels.pack("int8", weight) for name, weight in w.items()}
    widths = {
        "attention_norm_gain": spec.hidden,
        "mlp_norm_gain": spec.hidden,
        "q_norm": spec.head_dim,
        "k_norm": spec.head_dim,
    }
    for name, n in widths.items():
        w[name] = packed[name] = (1 + 0.2 * rng.standard_normal(n)).astype(np.float32)
    return w, NativeWeights(**packed)


@pytest.mark.parametrize("tokens", [1, 2, 13, 14, 15, 16, 17, 31, 32, 33, 128, 129, 255, 257])
@pytest.mark.parametrize(("n", "k"), [(64, 64), (96, 192), (384, 1536), (33, 70)])
def test_a_linear_is_exact(kernels: NativeKernels, tokens: int, n: int, k: int) -> None:
    rng = np.random.default_rng(tokens * n + k)
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((tokens, k), (n, k)))
    bias = rng.standard_normal(n).astype(np.float32)
    got = linear(kernels, x, weight, bias)
    assert distance(got, int8_linear(x, weight) + bias) < 2e-4


def test_extreme_values_do_not_saturate(kernels: NativeKernels) -> None:
    x = np.full((3, 4096), -1, np.float32)
    weight = np.full((64, 4096), 1, np.float32)
    np.testing.assert_allclose(linear(kernels, x, weight), -4096, rtol=1e-5)


def test_rows_of_zeros_give_zeros(kernels: NativeKernels) -> None:
    zeros = np.zeros((5, 64), np.float32)
    assert not linear(kernels, zeros, np.ones((64, 64), np.float32)).any()
    assert not linear(kernels, zeros + 1, np.zeros((64, 64), np.float32)).any()


def test_bf16_weights_pack_as_their_fp32_values_do(kernels: NativeKernels) -> None:
    weight = bf16(np.random.default_rng(0).standard_normal((96, 128)))
    np.testing.assert_array_equal(kernels.pack("int8", weight), kernels.pack("int8", to_bf16(weight)))


SPECS = [
    causal_shape(128, 192, 4, 2, 32, EPS),
    causal_shape(256, 320, 4, 1, 64, EPS),
    causal_shape(192, 128, 6, 3, 128, EPS),
    causal_shape(64, 64, 2, 2, 96, EPS),
]
LENGTHS = [
    [1],
    [2],
    [13],
    [14],
    [15],
    [128],
    [129],
    [255],
    [257],
    [600],
    [1, 33, 7, 64, 31, 200, 2, 5],
    [3] * 90,
    [500, 1, 20, 300],
    [40, 0, 100, 0],
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"d{s.head_dim}")
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_a_layer_is_the_same_arithmetic_as_the_reference(
    kernels: NativeKernels, spec: LayerShape, lengths: list[int]
) -> None:
    w, packed = random_layer(kernels, spec)
    x = np.random.default_rng(1).standard_normal((sum(lengths), spec.hidden)).astype(np.float32)
    cos, sin = rope_tables(700, spec.head_dim)
    want = layer(x, w, spec, lengths, cos, sin)
    cu = starts(lengths)
    got = x.copy()
    kernels.layers(spec, [packed], NativeBatch(cu, cos, sin), got)
    errors = np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)
    # A value on the edge between two int8 steps may fall either way; a flipped one shows in its row at about 0.5%.
    assert errors.max() < 2e-2
    assert errors.min() < 1e-4 or len(errors) < 8

    ends = np.array([n - 1 for n in cu[1:] if n > 0], np.int32)
    keep = np.unique(ends)
    kept = x.copy()
    kernels.layers(spec, [packed], NativeBatch(cu, cos, sin, keep), kept)
    np.testing.assert_array_equal(kept[keep], got[keep])
    others = np.delete(np.arange(len(x)), keep)
    np.testing.assert_array_equal(kept[others], x[others])


def test_offsets_that_do_not_ascend_are_refused(kernels: NativeKernels) -> None:
    spec = SPECS[0]
    _, packed = random_layer(kernels, spec)
    cos, sin = rope_tables(8, 32)
    x = np.zeros((8, spec.hidden), np.float32)
    for cu in ([0, 9], [0, 5, 3, 8], [1, 8]):
        with pytest.raises(RuntimeError, match="ascend"):
            kernels.layers(spec, [packed], NativeBatch(np.array(cu, np.int32), cos, sin), x)


@pytest.mark.parametrize("width", [1, 64, 100, 384])
def test_means_have_the_bits_of_torch(kernels: NativeKernels, width: int) -> None:
    """torch adds the rows of one text as here; a version that adds in another order may differ in the last bits."""
    lengths = [1, 2, 15, 16, 17, 33, 255, 256, 257, 700, 4097]
    rows = torch.randn((sum(lengths), width), generator=torch.Generator().manual_seed(width))
    got = torch.from_numpy(kernels.mean_rows(rows.numpy(), starts(lengths)))
    want = torch.stack([text.mean(0) for text in rows.split(lengths)])
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    if width % 64 == 0 and torch.__version__.startswith("2.13"):  # torch adds what is left of a row in another order
        assert torch.equal(got, want)


def test_means_of_texts_without_rows_are_refused(kernels: NativeKernels) -> None:
    for cu_seqlens in ([0, 0, 4], [0, 3, 2], [-1, 4]):
        with pytest.raises(RuntimeError, match="ft_mean_rows"):
            kernels.mean_rows(np.zeros((4, 8), np.float32), np.array(cu_seqlens, np.int32))


def peak(num_threads: int) -> tuple[float, float]:
    """Operations a second, and the processor's seconds that measuring them took."""
    kernels = NativeKernels(LIBRARY, num_threads)
    started = time.process_time()
    ops = kernels.peak_ops()
    seconds = time.process_time() - started
    kernels.close()
    return ops, seconds


@pytest.mark.skipif(not LIBRARY.is_file(), reason="the native kernels were not built (no C++ compiler)")
def test_the_peak_is_that_of_all_threads_at_once() -> None:
    num_threads = 4 * (os.cpu_count() or 1)
    one, seconds_of_one = peak(1)
    team, seconds = peak(num_threads)
    assert seconds > 2 * seconds_of_one  # of num_threads times as much; a processor's speed may halve meanwhile
    assert team > one / 2  # a thread's own rate is a quarter of a core's, their sum is not


def test_the_profile_names_every_stage_and_starts_anew_when_read(kernels: NativeKernels) -> None:
    _, packed = random_layer(kernels, SPECS[0])
    cos, sin = rope_tables(8, 32)
    x = np.zeros((8, SPECS[0].hidden), np.float32)
    kernels.layers(SPECS[0], [packed], NativeBatch(starts([8]), cos, sin), x)
    counted = kernels.profile()
    assert {"qkv", "attention", "o", "down", "wait"} <= set(counted)
    assert kernels.profile() == dict.fromkeys(counted, 0)
