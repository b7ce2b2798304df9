"""A packed batch: the tokens of many texts end to end, without padding.

A segment is a whole text or, where texts of a causal model share prefixes, a part of texts
(`farthing.models.batch.forest`). Segments are ordered by length, so that segments of equal length that continue from
the same place lie side by side, and attention takes each such run as one dense tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from farthing.core.arrays import Array
from farthing.core.deferred import dataclass
from farthing.models.batch.forest import Forest
from farthing.models.batch.held_keys import HeldKeys, KnownPrefix


@dataclass(frozen=True)
class Run:
    """`count` neighbouring segments of `length` tokens each, from token `start` on, that follow `parent`."""

    start: int
    count: int
    length: int
    parent: int = -1

    @property
    def tokens(self) -> slice:
        return slice(self.start, self.start + self.count * self.length)


@dataclass(frozen=True)
class Prefixes:
    """What the segments of a batch continue from.

    Attributes:
        parents: [segments] the segment before each; -1 for none; from the number of segments on, `known`, in order.
        offsets: [segments] the number of tokens before each.
        known: prefixes held since earlier batches; nothing comes before them.
        stored: by segment, where its keys and values are to be held; nothing comes before these segments either.
    """

    parents: tuple[int, ...]
    offsets: tuple[int, ...]
    known: tuple[KnownPrefix, ...]
    stored: Mapping[int, HeldKeys]


@dataclass(frozen=True)
class PackedBatch:
    """
    Attributes:
        ids: [tokens] int32.
        positions: [tokens] int32, the place of each token in its text.
        lengths: [segments] the number of tokens in each segment, in packed order.
        runs: segments of equal length with the same parent, in packed order.
        order: the forest's index of each packed segment.
        cu_seqlens: [segments + 1] int32, where each segment starts.
        ends: [n] int64, ascending, the segments that texts end with.
        text_rows: [texts] int64, for each text the place of its last segment in `ends`.
        prefixes: None where every segment is a whole text.
        token_rows: for each text, where its tokens lie, in order; None where each text gets one row.
    """

    ids: Array
    positions: Array
    lengths: tuple[int, ...]
    runs: tuple[Run, ...]
    order: tuple[int, ...]
    cu_seqlens: Array
    ends: Array
    text_rows: Array
    prefixes: Prefixes | None = None
    token_rows: tuple[tuple[slice, ...], ...] | None = None

    @property
    def num_tokens(self) -> int:
        return self.ids.shape[0]

    @property
    def max_length(self) -> int:
        return self.lengths[-1]

    @property
    def num_positions(self) -> int:
        """One more than the highest position."""
        if self.prefixes is None:
            return self.max_length
        return max(map(sum, zip(self.prefixes.offsets, self.lengths, strict=True)))

    def tokens(self, segment: int) -> slice:
        start = int(self.cu_seqlens[segment])
        return slice(start, start + self.lengths[segment])

    def first_rows(self) -> Array:
        """The rows [n] int32 of the first tokens of the segments that texts end with, ascending."""
        rows: Array = self.cu_seqlens[:-1][self.ends]
        return rows

    def last_rows(self) -> Array:
        """The rows [n] int32 of the last tokens of the segments that texts end with, ascending."""
        rows: Array = self.cu_seqlens[1:][self.ends] - 1
        return rows


def pack(texts: Sequence[Sequence[int]], *, per_token: bool = False) -> PackedBatch:
    """Pack token ids, each text by itself; every text must have at least one token."""
    return pack_forest(Forest.plain(texts), per_token=per_token)


def pack_forest(forest: Forest, *, per_token: bool = False) -> PackedBatch:
    """Pack the segments of a forest, which has at least one; no segment is empty.

    With `per_token` every token gets a row, so no tokens may be held since an earlier batch.
    """
    segments, texts = forest.segments, forest.texts
    assert segments and all(segment.num_tokens > 0 for segment in segments), (
        "a batch needs texts, and every text needs tokens"
    )
    # Little is asked of numpy here: beside a short batch, their calls take long.
    order = sorted(range(len(segments)), key=lambda i: (segments[i].num_tokens, segments[i].parent, segments[i].known))
    places = [0] * len(order)
    for place, index in enumerate(order):
        places[index] = place
    packed = [segments[index] for index in order]
    lengths = [segment.num_tokens for segment in packed]
    parents = [places[s.parent] if s.parent >= 0 else len(packed) + s.known if s.known >= 0 else -1 for s in packed]
    runs, start = [], 0
    for (length, parent), group in groupby(zip(lengths, parents, strict=True)):
        count = sum(1 for _ in group)
        runs.append(Run(start, count, length, parent))
        start += count * length
    ids: list[int] = []
    positions: list[int] = []
    starts = [0]
    for s in packed:
        ids += texts[s.text][s.start : s.stop]
        positions += range(s.start, s.stop)
        starts.append(len(ids))
    last = [places[segment] for segment in forest.ends]
    ends = sorted(set(last))
    rows = {place: row for row, place in enumerate(ends)}
    prefixes = None
    if forest.has_prefixes:
        stored = {places[segment]: held for segment, held in forest.stored.items()}
        offsets = tuple(segment.start for segment in packed)
        prefixes = Prefixes(tuple(parents), offsets, tuple(forest.known), stored)
    token_rows = None
    if per_token:
        assert not forest.known, "held tokens have no rows"
        tokens = [slice(starts[place], starts[place + 1]) for place in places]
        token_rows = tuple(tuple(tokens[segment] for segment in forest.way_to(end)) for end in forest.ends)
    return PackedBatch(
        ids=np.array(ids, dtype=np.int32),
        positions=np.array(positions, dtype=np.int32),
        lengths=tuple(lengths),
        runs=tuple(runs),
        order=tuple(order),
        cu_seqlens=np.array(starts, dtype=np.int32),
        ends=np.array(ends, dtype=np.int64),
        text_rows=np.array([rows[place] for place in last]),
        prefixes=prefixes,
        token_rows=token_rows,
    )
