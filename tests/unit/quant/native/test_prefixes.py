"""Texts that share prefixes in the native Qwen3 layers: each row is bit for bit that of its text computed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from arithmetic import bidirectional_shape, rope_tables, starts
from test_kernels import SPECS, random_layer

from farthing.core.arrays import aligned_empty, aligned_zeros
from farthing.quant.native.arguments import KnownKeys, LayerShape, NativeBatch, NativePrefixes, NativeWeights
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import LIBRARY

NUM_LAYERS = 2
POSITIONS = 1100
# (parent, length) of each segment; a parent may come later in the batch.
FORESTS = {
    "siblings": [(-1, 21), (0, 12), (0, 1), (0, 11), (0, 40)],
    "chains": [(-1, 1), (0, 1), (1, 31), (2, 33), (3, 1), (3, 32), (0, 5), (-1, 7)],
    "around a panel": [(-1, 31), (-1, 32), (-1, 33), *[(parent, n) for parent in range(3) for n in (1, 31, 32, 33)]],
    "long": [(-1, 600), (0, 100), (0, 10), (1, 260), (1, 3), (-1, 257), (5, 130)],
    "ends at a chunk": [(-1, 200), (0, 56), (1, 1), (0, 57), (3, 300)],
    "children first": [(2, 9), (0, 20), (-1, 25), (2, 3)],
    "tokens one by one": [(parent, 1) for parent in range(-1, 300)],
    "nothing shared": [(-1, 40), (-1, 3), (-1, 130)],
    "an empty text": [(-1, 40), (0, 0), (0, 5), (-1, 0)],
}

Forest = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Model:
    """Two layers of random weights, and rows of random numbers for the tokens of each segment."""

    kernels: NativeKernels
    shape: LayerShape
    layers: list[Any]

    def run(self, rows: list[np.ndarray], keep: np.ndarray | None = None,
            prefixes: Callable[[int], NativePrefixes] | None = None) -> list[np.ndarray]:  # fmt: skip
        """What becomes of the rows of each segment; prefixes(layer) -> those of its call. Keep: of the last layer."""
        hidden, cu_seqlens = np.concatenate(rows), starts([len(part) for part in rows])
        cos, sin = rope_tables(POSITIONS, self.shape.head_dim)
        for index, weights in enumerate(self.layers):
            batch = NativeBatch(cu_seqlens, cos, sin, keep if index == NUM_LAYERS - 1 else None)
            if prefixes is not None:
                batch = replace(batch, prefixes=prefixes(index))
            self.kernels.layers(self.shape, [weights], batch, hidden)
        return np.split(hidden, cu_seqlens[1:-1])

    def blocks(self, num_tokens: int) -> list[np.ndarray]:
        """One for each layer, of bytes that nothing should read."""
        num_bytes = self.kernels.kv_bytes(self.shape, num_tokens)
        blocks = [aligned_empty(num_bytes) for _ in range(NUM_LAYERS)]
        for block in blocks:
            block.fill(255)
        return blocks


def make_model(kernels: NativeKernels, shape: LayerShape) -> Model:
    return Model(kernels, shape, [random_layer(kernels, shape, seed)[1] for seed in range(NUM_LAYERS)])


def random_rows(shape: LayerShape, lengths: Sequence[int], seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((length, shape.hidden)).astype(np.float32) for length in lengths]


def tree(forest: Forest) -> NativePrefixes:
    def offset(segment: int) -> int:
        before = 0
        while (segment := forest[segment][0]) >= 0:
            before += forest[segment][1]
        return before

    return NativePrefixes(*ints([parent for parent, _ in forest], [offset(i) for i in range(len(forest))]))


def whole_text(forest: Forest, rows: list[np.ndarray], segment: int) -> np.ndarray:
    parts = []
    while segment >= 0:
        parts.append(rows[segment])
        segment = forest[segment][0]
    return np.concatenate(parts[::-1])


def same_rows(got: Sequence[np.ndarray], texts: Sequence[np.ndarray]) -> bool:
    """Are the segments' rows the last ones of their texts?"""
    return all(np.array_equal(part, text[len(text) - len(part) :]) for part, text in zip(got, texts, strict=True))


@pytest.mark.parametrize("shape", SPECS[::2], ids=lambda shape: f"d{shape.head_dim}")
@pytest.mark.parametrize("name", FORESTS)
def test_shared_prefixes_give_the_bits_of_whole_texts(kernels: NativeKernels, shape: LayerShape, name: str) -> None:
    model, forest = make_model(kernels, shape), FORESTS[name]
    rows = random_rows(shape, [length for _, length in forest])
    leaves = [segment for segment in range(len(forest)) if name != "tokens one by one" or segment in (20, 299)]
    texts = model.run([whole_text(forest, rows, segment) for segment in leaves])
    got = model.run(rows, prefixes=lambda _: tree(forest))
    assert same_rows([got[segment] for segment in leaves], texts)

    ends = np.unique([i - 1 for i in np.cumsum([len(part) for part in rows]) if i > 0]).astype(np.int32)
    kept = np.concatenate(model.run(rows, ends, lambda _: tree(forest)))[ends]
    assert np.array_equal(kept, np.concatenate(got)[ends])


def test_prefixes_without_parents_change_no_bit(kernels: NativeKernels) -> None:
    model, lengths = make_model(kernels, SPECS[0]), [3, 300, 1]
    rows, forest = random_rows(SPECS[0], lengths), [(-1, length) for length in lengths]
    assert same_rows(model.run(rows, prefixes=lambda _: tree(forest)), model.run(rows))


@pytest.mark.parametrize("held", [1, 31, 32, 33, 300])
@pytest.mark.parametrize("lengths", [(1, 33, 70), (130, 200)], ids=str)
def test_known_keys_are_as_good_as_computed_ones(kernels: NativeKernels, held: int, lengths: tuple[int, ...]) -> None:
    shape = SPECS[2]
    model = make_model(kernels, shape)
    prefix, *suffixes = random_rows(shape, (held, *lengths))
    blocks = model.blocks(held)
    alone = NativePrefixes(*ints([-1], [0]))
    (stored,) = model.run([prefix], prefixes=lambda layer: replace(alone, stored={0: blocks[layer]}))
    assert np.array_equal(stored, model.run([prefix])[0])

    for seen in {held, (held + 1) // 2, 1}:
        texts = model.run([np.concatenate((prefix[:seen], suffix)) for suffix in suffixes])
        known = [(KnownKeys(kv, held, held), KnownKeys(kv, seen, held)) for kv in blocks]
        places = NativePrefixes(*ints([len(lengths) + 1] * len(lengths), [seen] * len(lengths)))
        got = model.run(suffixes, prefixes=lambda layer, p=places, k=known: replace(p, known=k[layer]))
        assert same_rows(got, texts)


def test_tokens_that_are_not_seen_may_be_anything(kernels: NativeKernels) -> None:
    model = make_model(kernels, SPECS[0])
    model = replace(model, layers=model.layers[:1])
    prefix, suffix = random_rows(SPECS[0], (300, 20))
    (want,) = model.run([np.concatenate((prefix[:270], suffix))])
    prefix[270:] = np.nan
    (kv,) = model.blocks(300)[:1]
    model.run([prefix], prefixes=lambda _: NativePrefixes(*ints([-1], [0]), stored={0: kv}))
    (got,) = model.run([suffix], prefixes=lambda _: NativePrefixes(*ints([1], [270]), [KnownKeys(kv, 270, 300)]))
    assert np.array_equal(got, want[270:])


def test_a_batch_may_know_store_and_nest_at_once(kernels: NativeKernels) -> None:
    shape = SPECS[1]
    model = make_model(kernels, shape)
    first, second, *rows = random_rows(shape, (40, 25, 50, 300, 7, 20, 12))
    known = [model.blocks(len(first)), model.blocks(len(second))]
    alone = NativePrefixes(*ints([-1, -1], [0, 0]))
    model.run([first, second], prefixes=lambda layer: replace(alone, stored={i: known[i][layer] for i in (0, 1)}))

    stored = model.blocks(300)
    places = NativePrefixes(*ints([5, -1, 0, 1, 6], [40, 0, 90, 300, 13]))

    def prefixes(layer: int) -> NativePrefixes:
        seen = (KnownKeys(known[0][layer], 40, 40), KnownKeys(known[1][layer], 13, 25))
        return replace(places, known=seen, stored={1: stored[layer]})

    texts = [[first, rows[0]], [rows[1]], [first, rows[0], rows[2]], [rows[1], rows[3]], [second[:13], rows[4]]]
    want = model.run([np.concatenate(text) for text in texts])
    assert same_rows(model.run(rows, prefixes=prefixes), want)

    again = NativePrefixes(*ints([1], [300]))
    (got,) = model.run([rows[3]], prefixes=lambda layer: replace(again, known=[KnownKeys(stored[layer], 300, 300)]))
    assert np.array_equal(got, want[3][300:])


@pytest.mark.parametrize("name", ["long", "siblings"])
def test_every_number_of_threads_gives_the_same_bits(kernels: NativeKernels, name: str) -> None:
    forest, shape = FORESTS[name], SPECS[3]
    rows = random_rows(shape, [length for _, length in forest])
    want = make_model(kernels, shape).run(rows, prefixes=lambda _: tree(forest))
    for num_threads in (1, 3, 4):
        team = NativeKernels(LIBRARY, num_threads, kernels.isa)
        got = make_model(team, shape).run(rows, prefixes=lambda _: tree(forest))
        team.close()
        assert np.array_equal(np.concatenate(got), np.concatenate(want))


def ints(*lists: list[int]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(values, np.int32) for values in lists)


def known(shape: LayerShape, num_tokens: int, held_tokens: int = 32, misaligned: int = 0) -> KnownKeys:
    num_bytes = 4 * shape.kv_heads * shape.head_dim * held_tokens
    return KnownKeys(aligned_zeros(num_bytes + 64)[misaligned : misaligned + num_bytes], num_tokens, held_tokens)


SHAPE = SPECS[0]
BLOCK = known(SHAPE, 1).kv
REFUSED = {
    "a parent that there is not": ([-1, 2], [0, 4], {}),
    "a known parent that there is not": ([-1, 3], [0, 3], {"known": [known(SHAPE, 3)]}),
    "a parent below none": ([-1, -2], [0, 4], {}),
    "a segment that is its own parent": ([-1, 1], [0, 4], {}),
    "two segments that are each other's parents": ([1, 0], [4, 4], {}),
    "an offset that is not the parent's end": ([-1, 0], [0, 3], {}),
    "an offset that is not the known parent's end": ([-1, 2], [0, 4], {"known": [known(SHAPE, 3)]}),
    "an offset without a parent": ([-1, -1], [0, 4], {}),
    "an offset below 0": ([-1, -1], [0, -4], {}),
    "an empty parent": ([-1, -1, 1], [0, 0, 0], {}),
    "positions beyond the tables": ([-1, 2], [0, 61], {"known": [known(SHAPE, 61, 64)]}),
    "known tokens that are not held": ([-1, 2], [0, 33], {"known": [known(SHAPE, 33)]}),
    "no known token": ([-1, 2], [0, 0], {"known": [known(SHAPE, 0)]}),
    "a known block at an odd place": ([-1, 2], [0, 3], {"known": [known(SHAPE, 3, misaligned=8)]}),
    "a stored block at an odd place": ([-1, 0], [0, 4], {"stored": {0: known(SHAPE, 1, misaligned=8).kv}}),
    "a stored segment with a parent": ([-1, 0], [0, 4], {"stored": {1: BLOCK}}),
}


def run_segments(kernels: NativeKernels, prefixes: NativePrefixes) -> None:
    """Two segments of four tokens, and where there is a third an empty one before the last."""
    lengths = [4, 4] if len(prefixes.parents) == 2 else [4, 0, 4]
    cos, sin = rope_tables(64, SHAPE.head_dim)
    weights, hidden = random_layer(kernels, SHAPE)[1], np.zeros((8, SHAPE.hidden), np.float32)
    kernels.layers(SHAPE, [weights], NativeBatch(starts(lengths), cos, sin, prefixes=prefixes), hidden)


@pytest.mark.parametrize("name", REFUSED)
def test_segments_that_do_not_follow_on_each_other_are_refused(kernels: NativeKernels, name: str) -> None:
    parents, offsets, others = REFUSED[name]
    with pytest.raises(RuntimeError, match="parent that does not fit"):
        run_segments(kernels, NativePrefixes(*ints(parents, offsets), **others))


def test_segments_that_follow_on_each_other_are_taken(kernels: NativeKernels) -> None:
    run_segments(kernels, NativePrefixes(*ints([-1, 0], [0, 4]), stored={0: BLOCK}))
    run_segments(kernels, NativePrefixes(*ints([-1, 2], [0, 60]), known=[known(SHAPE, 60, 64)]))
    run_segments(kernels, NativePrefixes(*ints([-1, 0, 0], [0, 4, 4])))


def test_bidirectional_layers_refuse_prefixes(kernels: NativeKernels) -> None:
    shape = bidirectional_shape(64, 64, 2, "gelu", 1e-6)
    packed, zeros = kernels.pack("int8", np.zeros((192, 64), np.float32)), np.zeros(192, np.float32)
    weights, hidden = NativeWeights(*[packed] * 4, *[zeros] * 8), np.zeros((4, 64), np.float32)
    batch = NativeBatch(starts([4]), *rope_tables(4, 32))
    kernels.layers(shape, [weights], batch, hidden)
    with pytest.raises(RuntimeError, match="parent that does not fit"):
        kernels.layers(shape, [weights], replace(batch, prefixes=NativePrefixes(*ints([-1], [0]))), hidden)


def test_a_block_has_keys_and_values_of_whole_panels_in_bf16(kernels: NativeKernels) -> None:
    sizes = [kernels.kv_bytes(SHAPE, num_tokens) for num_tokens in (0, 1, 32, 33)]
    token = 2 * SHAPE.kv_heads * SHAPE.head_dim * 2
    assert sizes == [0, 32 * token, 32 * token, 64 * token]
