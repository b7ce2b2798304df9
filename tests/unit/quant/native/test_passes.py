"""What surrounds the layers, and whole passes, against numpy, on every instruction set this CPU has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from any_layer import AnyLayer, make_layer, normed
from arithmetic import rope_tables, starts

from farthing.core.arrays import aligned_empty, to_bf16, to_float32
from farthing.quant.native.arguments import KnownKeys, LayerShape, NativePrefixes
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.passes import NativeInput, NativeLayer, NativeLayers, NativeNorm, NativePass, NativeRotation
from farthing.quant.rotation import rotate

WIDTHS = {48: (6, 8), 176: (11, 16), 336: (16, 21), 384: (16, 24), 1024: (32, 32), 1328: (16, 83)}


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rotation(width: int) -> tuple[NativeRotation, np.ndarray]:
    """And as one matrix, in fp64."""
    left, right = (np.linalg.qr(floats(size, size, seed=size))[0] for size in WIDTHS[width])
    signs = np.where(floats(width) < 0, -1, 1).astype(np.float32)
    return NativeRotation(left, right, signs), np.kron(left.astype(np.float64), right) * signs


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_are_rotated_and_back(kernels: NativeKernels, width: int) -> None:
    given, matrix = rotation(width)
    for num_rows in (0, 1, 5):
        rows = floats(num_rows, width)
        np.testing.assert_allclose(kernels.rotate_rows(given, rows), rows @ matrix.T, atol=1e-5)
        np.testing.assert_allclose(kernels.rotate_rows(given, rows, inverse=True), rows @ matrix, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 64), (7, 192), (300, 1024)], ids=str)
def test_each_64_numbers_are_rotated_in_place(kernels: NativeKernels, shape: tuple[int, int]) -> None:
    rows = floats(*shape)
    want = rotate(rows)
    kernels.hadamard_rows(rows)
    np.testing.assert_allclose(rows, want, atol=1e-5)
    with pytest.raises(RuntimeError, match="a width does not fit"):
        kernels.hadamard_rows(floats(2, 80))


STORED = {"fp32": np.asarray, "bf16": to_bf16, "fp16": lambda x: x.astype(np.float16)}


@pytest.mark.parametrize("dtype", STORED)
def test_a_table_gives_its_rows(kernels: NativeKernels, dtype: str) -> None:
    table = STORED[dtype](floats(50, 48) * np.float32(0.02))
    ids = np.array([3, 0, 49, 3], np.int32)
    got = kernels.embed(NativeInput(table, scale=7.0), ids)
    np.testing.assert_array_equal(got, to_float32(table)[ids] * np.float32(7))
    assert kernels.embed(NativeInput(table), ids[:0]).shape == (0, 48)


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_positions_types_norm_and_rotation_come_in_this_order(kernels: NativeKernels, kind: str) -> None:
    width, num_tokens = 384, 70
    given, matrix = rotation(width)
    norm = NativeNorm(kind, 1e-5, 1 + floats(width) / 5, floats(width, seed=1) if kind == "layer" else None)
    whole = NativeInput(floats(90, width), 1.0, floats(80, width, seed=2), floats(2, width, seed=3), norm, given)
    rng = np.random.default_rng(0)
    ids, positions, types = (rng.integers(0, top, num_tokens).astype(np.int32) for top in (90, 80, 2))
    for chosen in (types, None):
        added = whole.types[0] if chosen is None else whole.types[chosen]
        x = whole.tokens[ids].astype(np.float64) + added + whole.positions[positions]
        want = normed(x, kind, 1e-5, norm.gain, norm.bias) @ matrix.T
        np.testing.assert_allclose(kernels.embed(whole, ids, positions, chosen), want, atol=2e-5)


@pytest.mark.parametrize(
    ("ids", "positions", "types"),
    [([5], [0], [0]), ([-1], [0], [0]), ([0], [4], [0]), ([0], None, [0]), ([0], [0], [2]), ([0], [-1], [0])],
    ids=str,
)
def test_rows_that_a_table_does_not_have_are_refused(
    kernels: NativeKernels, ids: list[int], positions: list[int] | None, types: list[int]
) -> None:
    given = NativeInput(floats(5, 32), 1.0, floats(4, 32), floats(2, 32))
    numbers = (None if part is None else np.array(part, np.int32) for part in (ids, positions, types))
    with pytest.raises(RuntimeError, match="an id without a row"):
        kernels.embed(given, *numbers)


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_last_rows_are_rotated_back_and_normed(kernels: NativeKernels, kind: str) -> None:
    given, matrix = rotation(1024)
    norm = NativeNorm(kind, 1e-6, 1 + floats(1024) / 5, floats(1024, seed=1) if kind == "layer" else None)
    rows = floats(9, 1024, seed=2)
    for turns, chosen in ((given, norm), (given, None), (None, norm), (None, None)):
        want = rows.astype(np.float64) @ matrix if turns else rows.astype(np.float64)
        want = normed(want, kind, 1e-6, norm.gain, norm.bias) if chosen else want
        got = rows.copy()
        kernels.finish(chosen, turns, got)
        np.testing.assert_allclose(got, want, atol=1e-5)


LENGTHS = [3, 40, 1, 150]


def layers_of(kernels: NativeKernels, form: str) -> list[AnyLayer]:
    """Two that differ."""
    first = LayerShape(176, 80, 4, 2, 48, "rms", False, True, True, True, True, "silu", 1e-6, form=form)
    second = replace(first, intermediate=112, norms_heads=False)
    return [make_layer(kernels, first, seed=1), make_layer(kernels, second, ("qkv", "down"), seed=2)]


def whole_pass(kernels: NativeKernels, form: str) -> tuple[NativePass, list[AnyLayer]]:
    layers, num_tokens = layers_of(kernels, form), sum(LENGTHS)
    ids = np.random.default_rng(0).integers(0, 60, num_tokens).astype(np.int32)
    given = NativeInput(to_bf16(floats(60, 176)), rotation=rotation(176)[0])
    tables = rope_tables(200, 48)
    steps = NativeLayers(tuple(NativeLayer(layer.shape, layer.packed, *tables) for layer in layers))
    norm = NativeNorm("rms", 1e-6, 1 + floats(176) / 5)
    return NativePass(given, ids, starts(LENGTHS), steps, last_norm=norm, last_rotation=given.rotation), layers


def step_by_step(kernels: NativeKernels, given: NativePass, layers: list[AnyLayer]) -> np.ndarray:
    rows = kernels.embed(given.input, given.ids)
    for index, layer in enumerate(layers):
        rows = layer.run(kernels, rows, LENGTHS, given.keep if index == len(layers) - 1 else None)
    rows = rows if given.keep is None else rows[given.keep]
    kernels.finish(given.last_norm, given.last_rotation, rows)
    return kernels.mean_rows(rows, given.cu_seqlens) if given.takes_means else rows


@pytest.mark.parametrize("form", ["int8", "fp32"])
@pytest.mark.parametrize("rows", ["all", "kept", "means"])
def test_a_pass_in_one_call_gives_the_bits_of_its_steps(kernels: NativeKernels, form: str, rows: str) -> None:
    given, layers = whole_pass(kernels, form)
    keep = (np.cumsum(LENGTHS) - 1).astype(np.int32) if rows == "kept" else None
    given = replace(given, keep=keep, takes_means=rows == "means")
    got = kernels.run(given)
    assert len(got) == given.num_rows == {"all": sum(LENGTHS), "kept": 4, "means": 4}[rows]
    np.testing.assert_array_equal(got, step_by_step(kernels, given, layers))
    assert np.isfinite(got).all()


def test_a_pass_goes_on_from_known_keys_of_each_layer(kernels: NativeKernels) -> None:
    given, layers = whole_pass(kernels, "fp32")
    prefix, rest = given.ids[:50], given.ids[50:90]
    alone = replace(given, ids=np.concatenate((prefix, rest)), cu_seqlens=starts([90]))
    want = kernels.run(alone)[50:]

    blocks = [aligned_empty(kernels.kv_bytes(layer.shape, 50)) for layer in layers]
    none = np.array([-1], np.int32), np.array([0], np.int32)
    storing = [
        replace(step, prefixes=NativePrefixes(*none, stored={0: kv}))
        for step, kv in zip(given.layers.layers, blocks, strict=True)
    ]
    kernels.run(replace(given, ids=prefix, cu_seqlens=starts([50]), layers=NativeLayers(tuple(storing))))
    place = np.array([1], np.int32), np.array([50], np.int32)
    knowing = [
        replace(step, prefixes=NativePrefixes(*place, [KnownKeys(kv, 50, 50)]))
        for step, kv in zip(given.layers.layers, blocks, strict=True)
    ]
    got = kernels.run(replace(given, ids=rest, cu_seqlens=starts([40]), layers=NativeLayers(tuple(knowing))))
    np.testing.assert_array_equal(got, want)


def test_passes_that_make_no_sense_are_refused(kernels: NativeKernels) -> None:
    given, _ = whole_pass(kernels, "fp32")
    first = given.layers.layers[0]
    wider = make_layer(kernels, replace(first.shape, hidden=192))
    wrong = [
        replace(given, ids=given.ids + 60),
        replace(given, layers=NativeLayers(())),
        replace(given, layers=NativeLayers((first, NativeLayer(wider.shape, wider.packed, first.cos)))),
        replace(given, takes_means=True, cu_seqlens=starts([*LENGTHS, 0])),
        replace(given, takes_means=True, keep=np.array([1], np.int32)),
        replace(given, last_rotation=rotation(48)[0]),
    ]
    for one in wrong:
        with pytest.raises(RuntimeError, match="ft_run"):
            kernels.run(one)


def test_no_texts_give_no_rows(kernels: NativeKernels) -> None:
    given, _ = whole_pass(kernels, "fp32")
    assert kernels.run(replace(given, ids=given.ids[:0], cu_seqlens=starts([]))).shape == (0, 176)


def test_nan_in_one_text_leaves_the_others_alone(kernels: NativeKernels) -> None:
    given, _ = whole_pass(kernels, "int8")
    want = kernels.run(replace(given, takes_means=True))
    table = given.input.tokens.copy()
    table[59] = 0x7FC0  # NaN
    ids = given.ids.copy()
    ids[ids == 59] = 58
    other = replace(given, input=replace(given.input, tokens=table), ids=ids, takes_means=True)
    clean = kernels.run(other)
    ids[10] = 59
    got = kernels.run(other)
    assert np.isnan(got[1]).all()
    np.testing.assert_array_equal(np.delete(got, 1, axis=0), np.delete(clean, 1, axis=0))
    assert np.isfinite(want).all()
