"""Layers of every form and of odd widths against numpy, on every instruction set this CPU has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from any_layer import AnyLayer, activate, largest_error, make_layer, random_rows

import tiers
from farthing.core.arrays import to_bf16, to_float32
from farthing.quant.native.arguments import FORM_CODES, KnownKeys, LayerShape, NativePrefixes
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import LIBRARY

ERROR = {"fp32": 2e-6, "bf16": 2e-6, "fp16": 2e-6, "int8": 2e-2}  # a value on the edge of a step may fall either way


def shape(widths: tuple[int, int, int, int, int], text: str, activation: str, **fields: Any) -> LayerShape:
    """`text` says in words what the layer is."""
    words = text.split()
    return LayerShape(
        *widths,
        norm=words[0],
        norms_sums="behind" in words,
        norms_heads="normed" in words,
        turns_heads="turned" in words,
        is_causal="causal" in words,
        is_gated="gated" in words,
        norms_added="both" in words,
        activation=activation,
        norm_eps=1e-5,
        head_norm_eps=1e-4,
        **fields,
    )


# Hidden, intermediate, heads of queries and of keys, head_dim; and what else the layer has (`make_layer`).
CASES = [
    (shape((48, 80, 2, 1, 16), "rms before causal gated turned normed", "silu"), ()),
    (shape((176, 336, 4, 2, 48), "layer before causal", "gelu"), ("qkv", "o", "up", "down")),
    (shape((336, 176, 3, 1, 80), "rms behind gated turned", "gelu_tanh"), ("qkv", "up")),
    (shape((64, 1040, 2, 2, 256), "layer behind gated normed", "gelu"), ("o", "down")),
    (shape((256, 544, 4, 1, 64), "rms before causal turned", "gelu_tanh"), ("qkv",)),
    (shape((192, 512, 3, 3, 64), "layer behind", "gelu", rotates_hidden=True), ("qkv", "o", "up", "down")),
    (shape((128, 192, 5, 5, 16), "layer before causal turned gated", "silu"), ("o", "up")),
    (shape((96, 320, 3, 3, 48), "rms behind normed causal", "silu", rotates_inner=True), ("down",)),
    (shape((112, 48, 4, 2, 112), "rms before gated turned normed causal", "silu", rotates_attended=True), ("up",)),
    (shape((64, 96, 4, 1, 64), "rms both gated turned normed", "gelu_tanh", window=32, query_scale=0.2), ()),
    (shape((64, 96, 3, 3, 32), "layer before gated turned", "gelu", window=64), ("no norms", "entering")),
    (shape((48, 64, 2, 1, 48), "rms both turned causal", "gelu_tanh", window=70), ()),
    (shape((64, 128, 4, 2, 16), "layer behind", "gelu"), ("qkv", "o", "up", "down", "distance")),
    (shape((64, 64, 2, 2, 32), "layer both", "gelu", window=5, rotates_hidden=True), ("distance",)),
]
LENGTHS = [[1], [15, 3], [33, 0, 64, 1], [126, 20], [300, 5, 270]]
FAST = {0, 2, 6} if not tiers.FULL else set(range(len(CASES)))


def case(index: int, form: str) -> tuple[LayerShape, tuple[str, ...]]:
    found, biases = CASES[index]
    if form == "int8":
        return found, biases
    plain = dict.fromkeys(("rotates_hidden", "rotates_attended", "rotates_inner"), False)
    return replace(found, form=form, **plain), biases


def layer_of(kernels: NativeKernels, index: int, form: str) -> AnyLayer:
    found, biases = case(index, form)
    return make_layer(kernels, found, biases)


every_form = pytest.mark.parametrize("form", FORM_CODES)


@every_form
@pytest.mark.parametrize("index", range(len(CASES)))
def test_a_layer_is_what_numpy_computes(kernels: NativeKernels, index: int, form: str) -> None:
    layer = layer_of(kernels, index, form)
    assert layer.shape.fits()
    for lengths in LENGTHS:
        x = random_rows(layer.shape, sum(lengths))
        got = layer.run(kernels, x, lengths)
        assert largest_error(got, layer.expected(x, lengths)) < ERROR[form], lengths

        begin = 0
        for length in lengths:  # a text's rows do not depend on its company, bit for bit
            rows = slice(begin, begin + length)
            np.testing.assert_array_equal(layer.run(kernels, x[rows], [length]), got[rows])
            begin += length


@every_form
@pytest.mark.parametrize("index", sorted(FAST))
def test_only_kept_rows_are_brought_through(kernels: NativeKernels, index: int, form: str) -> None:
    layer, lengths = layer_of(kernels, index, form), [1, 33, 200, 2]
    x = random_rows(layer.shape, sum(lengths))
    whole = layer.run(kernels, x, lengths)
    for keep in (np.cumsum(lengths) - 1, np.arange(0, len(x), 2)):
        got = layer.run(kernels, x, lengths, keep.astype(np.int32))
        np.testing.assert_array_equal(got[keep], whole[keep])
        others = np.delete(np.arange(len(x)), keep)
        np.testing.assert_array_equal(got[others], x[others])


@every_form
@pytest.mark.parametrize("index", [0, 4, 6])
def test_segments_give_the_bits_of_whole_texts(kernels: NativeKernels, index: int, form: str) -> None:
    """A prefix in the batch, and the same one stored by an earlier call; its end lies within a panel of keys."""
    layer = layer_of(kernels, index, form)
    prefix, rests = random_rows(layer.shape, 290), [random_rows(layer.shape, n, n) for n in (1, 40, 130)]
    texts = [np.concatenate((prefix, rest)) for rest in rests]
    want = [layer.run(kernels, text, [len(text)])[len(prefix) :] for text in texts]
    lengths = [len(rest) for rest in rests]
    bounds = np.cumsum(lengths)[:-1]

    together = NativePrefixes(np.array([-1, 0, 0, 0], np.int32), np.array([0, 290, 290, 290], np.int32))
    rows = layer.run(kernels, np.concatenate((prefix, *rests)), [290, *lengths], prefixes=together)
    for got, expected in zip(np.split(rows[290:], bounds), want, strict=True):
        np.testing.assert_array_equal(got, expected)

    block = np.full(kernels.kv_bytes(layer.shape, 290) + 64, 255, np.uint8)
    kv = block[-block.ctypes.data % 64 :][: kernels.kv_bytes(layer.shape, 290)]
    alone = NativePrefixes(np.array([-1], np.int32), np.array([0], np.int32), stored={0: kv})
    layer.run(kernels, prefix, [290], prefixes=alone)
    known = NativePrefixes(np.full(3, 3, np.int32), np.full(3, 290, np.int32), [KnownKeys(kv, 290, 290)])
    rows = layer.run(kernels, np.concatenate(rests), lengths, prefixes=known)
    for got, expected in zip(np.split(rows, bounds), want, strict=True):
        np.testing.assert_array_equal(got, expected)


@every_form
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("index", [1, 2])
def test_nan_and_inf_stay_in_their_text(kernels: NativeKernels, index: int, value: float, form: str) -> None:
    layer, lengths = layer_of(kernels, index, form), [5, 40, 100]
    x = random_rows(layer.shape, sum(lengths))
    want = layer.run(kernels, x, lengths)
    x[7, 3] = value
    got = layer.run(kernels, x, lengths)
    assert np.isnan(got[7]).any()
    np.testing.assert_array_equal(np.delete(got, np.s_[5:45], axis=0), np.delete(want, np.s_[5:45], axis=0))


@every_form
@pytest.mark.parametrize("lengths", [[9], [40, 60], [300, 2, 150]], ids=str)
def test_any_number_of_threads_gives_the_same_rows(kernels: NativeKernels, lengths: list[int], form: str) -> None:
    layer = layer_of(kernels, 2, form)
    x = random_rows(layer.shape, sum(lengths))
    want = layer.run(kernels, x, lengths)
    for num_threads in (1, 3):
        other = NativeKernels(LIBRARY, num_threads, kernels.isa)
        np.testing.assert_array_equal(layer.run(other, x, lengths), want)
        other.close()


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "silu"])
def test_activations_of_exact_forms_are_exact(kernels: NativeKernels, activation: str) -> None:
    """One argument for all inner channels, of which the layer adds up one."""
    plain = replace(CASES[4][0], activation=activation, form="fp32")
    layer = make_layer(kernels, plain, ("qkv", "o", "up", "down"))
    down = np.zeros((plain.hidden, plain.intermediate), np.float32)
    down[:, 0] = 1
    nothing = {name: np.zeros_like(layer.numbers[name]) for name in ("qkv_bias", "o_bias", "down_bias")}
    matrices = {name: kernels.pack("fp32", np.zeros_like(layer.numbers[name])) for name in ("qkv", "o", "up")}
    arguments = np.concatenate((np.linspace(-8, 8, 161), [-40, -1e-3, 1e-6, 1e-3, 40])).astype(np.float32)
    got = []
    for argument in arguments:
        up_bias = np.full_like(layer.numbers["up_bias"], argument)
        weights = replace(layer.packed, **nothing, **matrices, up_bias=up_bias, down=kernels.pack("fp32", down))
        rows = np.zeros((1, plain.hidden), np.float32)
        got.append(replace(layer, packed=weights).run(kernels, rows, [1])[0])
    errors = np.abs(np.stack(got) - activate(arguments.astype(np.float64), activation)[:, None]).max(1)
    assert (errors / np.maximum(1, np.abs(arguments))).max() < 3e-7


def test_attention_stays_exact_over_many_keys(kernels: NativeKernels) -> None:
    """Scores that differ by much, and by little."""
    layer = layer_of(kernels, 4, "fp32")
    for scale in (1, 30):
        x = random_rows(layer.shape, 900) * np.float32(scale)
        assert largest_error(layer.run(kernels, x, [900]), layer.expected(x, [900])) < 3e-6


@pytest.mark.parametrize("form", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("tokens", [1, 13, 14, 15, 129])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (33, 70), (96, 192)])
def test_a_product_is_exact(kernels: NativeKernels, tokens: int, n: int, k: int, form: str) -> None:
    rng = np.random.default_rng(tokens * n + k)
    x, weight = (rng.standard_normal(size).astype(np.float32) for size in ((tokens, k), (n, k)))
    bias = rng.standard_normal(n).astype(np.float32)
    stored = {"fp32": weight, "bf16": to_bf16(weight), "fp16": weight.astype(np.float16)}[form]
    got = kernels.linear(form, x, kernels.pack(form, stored), n, bias)
    want = x.astype(np.float64) @ to_float32(stored).T.astype(np.float64) + bias
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


SPECIAL = np.array(
    [0, -0.0, 1, 65504, 65519.9, 65520, 1e30, -1e-30, 6e-8, 3e-8, 2.9e-8, 6.1e-5, 5.9e-5, np.inf, -np.inf]
)


@pytest.mark.parametrize("form", ["fp32", "bf16", "fp16"])
def test_numbers_are_packed_as_numpy_rounds_them(kernels: NativeKernels, form: str) -> None:
    """Panels of 32 rows, [k][32], what is missing to 32 rows and 16 inputs zero; from every dtype."""
    rng = np.random.default_rng(0)
    numbers = np.concatenate((SPECIAL, rng.standard_normal(985), 1e-5 * rng.standard_normal(1000)))
    weight = numbers.astype(np.float32).reshape(40, 50)
    with np.errstate(over="ignore"):
        halves = weight.astype(np.float16)
    for given in (weight, to_bf16(weight), halves):
        block = kernels.pack(form, given)
        padded = np.zeros((64, 64), np.float32)
        padded[:40, :50] = to_float32(given)
        panels = padded.reshape(2, 32, 64).swapaxes(1, 2)
        with np.errstate(over="ignore"):
            want = {"fp32": panels, "bf16": to_bf16(panels), "fp16": panels.astype(np.float16)}[form]
        np.testing.assert_array_equal(block, np.ascontiguousarray(want).view(np.uint8).ravel())
    weight[3, 4] = np.nan
    packed = kernels.pack(form, weight)
    number = {"fp32": np.float32, "bf16": np.uint16, "fp16": np.float16}[form]
    assert np.isnan(to_float32(packed.view(number))).sum() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_int8_row_with_nan_or_inf_has_a_scale_that_is_not_finite(kernels: NativeKernels, value: float) -> None:
    weight = np.ones((40, 130), np.float32)
    weight[5, 129] = value
    scales = kernels.pack("int8", weight)[-64 * 4 :].view(np.float32)
    assert np.flatnonzero(~np.isfinite(scales)).tolist() == [5]


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden": 56},
        {"intermediate": 24},
        {"head_dim": 272},
        {"head_dim": 8},
        {"q_heads": 3},
        {"rotates_hidden": True},
        {"form": "fp32", "rotates_attended": True},
    ],
    ids=str,
)
def test_what_is_not_computed_is_refused(kernels: NativeKernels, changed: dict[str, int]) -> None:
    found = LayerShape(176, 64, 4, 2, 32, "rms", False, False, False, True, True, "silu", 1e-6)
    layer, wrong = make_layer(kernels, found), replace(found, **changed)
    assert found.fits()
    assert not wrong.fits()
    with pytest.raises(RuntimeError, match="a width does not fit"):
        replace(layer, shape=wrong).run(kernels, np.zeros((2, wrong.hidden), np.float32), [2])
