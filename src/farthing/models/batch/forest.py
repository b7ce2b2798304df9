"""The texts of a batch as a forest of segments, in which a prefix that texts share is there once.

In: token ids. Out: segments, each of which continues from another one, from keys held since an earlier batch, or from
nothing. This is exact, but only for causal models: there the rows of shared tokens are the same whatever follows.
Shared prefixes of any nesting are found by sorting; no tree over single tokens is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from itertools import pairwise

import numpy as np

from farthing.core.deferred import dataclass
from farthing.models.batch.held_keys import HeldKeys, KnownPrefix
from farthing.models.batch.token_key import common_tokens, token_key

# Each segment costs each layer a little, so fewer shared tokens than this are computed again instead
# (`python benchmarks/shared_prefixes.py`).
MIN_SHARED_TOKENS = 4


@dataclass(frozen=True)
class Segment:
    """Tokens `start` to `stop` of the text with the index `text`, which other texts may have in common.

    Attributes:
        parent: the segment that these tokens follow; -1 for none.
        known: the held keys that these tokens follow; -1 for none.
    """

    text: int
    start: int
    stop: int
    parent: int = -1
    known: int = -1

    @property
    def num_tokens(self) -> int:
        return self.stop - self.start


@dataclass
class Forest:
    """
    Attributes:
        texts: the token ids of each text.
        segments: in no order.
        ends: the segment with which each text ends.
        stored: by segment, where its keys and values are to be held; such a segment starts at a text's first token.
    """

    texts: Sequence[Sequence[int]]
    segments: list[Segment] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    known: list[KnownPrefix] = field(default_factory=list)
    stored: dict[int, HeldKeys] = field(default_factory=dict)

    @classmethod
    def plain(cls, texts: Sequence[Sequence[int]]) -> Forest:
        """A forest in which every text is by itself."""
        segments = [Segment(index, 0, len(text)) for index, text in enumerate(texts)]
        return cls(texts, segments, list(range(len(texts))))

    @property
    def has_prefixes(self) -> bool:
        return bool(self.known or self.stored) or any(segment.parent >= 0 for segment in self.segments)

    def add(self, segment: Segment) -> int:
        self.segments.append(segment)
        return len(self.segments) - 1

    def way_to(self, segment: int) -> list[int]:
        """The segments, in order, that make up a text which ends with this segment."""
        way = [segment]
        while (parent := self.segments[way[-1]].parent) >= 0:
            way.append(parent)
        return way[::-1]

    def computed(self) -> tuple[int, ...]:
        """The number of tokens computed for each text; tokens that several texts share count for the first of them."""
        counts, paid = [], [False] * len(self.segments)
        for segment in self.ends:
            count = 0
            while segment >= 0 and not paid[segment]:
                paid[segment] = True
                count += self.segments[segment].num_tokens
                segment = self.segments[segment].parent
            counts.append(count)
        return tuple(counts)


def distinct(keys: Sequence[bytes]) -> tuple[list[int], list[int]]:
    """The index of the first of each set of identical texts, and for every text the index of the first one like it."""
    first: dict[bytes, int] = {}
    like = [first.setdefault(key, index) for index, key in enumerate(keys)]
    return list(first.values()), like


def grow(
    forest: Forest, keys: Sequence[bytes], members: Iterable[int], offset: int = 0, parent: int = -1, known: int = -1
) -> None:
    """Add what follows the first `offset` tokens of distinct texts, which share these tokens, and set the texts' ends.

    `parent` or `known` is where the shared tokens are computed; a text with no more tokens ends with the parent.
    """
    order = sorted(members, key=lambda index: keys[index])
    shared = np.array([common_tokens(keys[a], keys[b]) for a, b in pairwise(order)], dtype=np.int64)
    waiting = [(0, len(order), offset, parent, known)]
    while waiting:
        start, stop, offset, parent, known = waiting.pop()
        if stop - start == 1:
            finish(forest, order[start], offset, parent, known)
            continue
        depth = int(shared[start : stop - 1].min())
        cuts = [start, *(start + 1 + np.flatnonzero(shared[start : stop - 1] == depth)).tolist(), stop]
        if (depth - offset) * (len(cuts) - 2) >= MIN_SHARED_TOKENS:
            parent, known = forest.add(Segment(order[start], offset, depth, parent, known)), -1
            offset = depth
        waiting.extend((a, b, offset, parent, known) for a, b in pairwise(cuts))


def finish(forest: Forest, text: int, offset: int, parent: int, known: int) -> None:
    length = len(forest.texts[text])
    if length > offset:
        parent = forest.add(Segment(text, offset, length, parent, known))
    assert parent >= 0, "a text that is known to its end has no row"
    forest.ends[text] = parent


def batch_forest(texts: Sequence[Sequence[int]]) -> Forest:
    """The forest of what texts of a causal model share with each other, but not with earlier batches."""
    keys = [token_key(text) for text in texts]
    first, like = distinct(keys)
    forest = Forest(texts, ends=[-1] * len(texts))
    grow(forest, keys, first)
    forest.ends = [forest.ends[index] for index in like]
    return forest


def distinct_forest(texts: Sequence[Sequence[int]]) -> Forest:
    """The forest in which identical texts are there once, and nothing else is shared."""
    first, like = distinct([token_key(text) for text in texts])
    forest = Forest(texts, [Segment(index, 0, len(texts[index])) for index in first])
    places = {index: place for place, index in enumerate(first)}
    forest.ends = [places[index] for index in like]
    return forest
