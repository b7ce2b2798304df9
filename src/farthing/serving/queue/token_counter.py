"""How many tokens a batch will compute, counted while it is filled.

In: token keys (`farthing.models.token_key`), one text after the other. Out: the tokens that each adds. A text that is
in the batch already adds none; where the model shares prefixes, one that begins as another adds what follows that
beginning. In all about what `farthing.models.forest` makes of the batch, rather more than less. Which beginnings are
held from earlier batches is not known here: they count as computed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from farthing.engine.describe import ModelDescription
from farthing.models.forest import MIN_SHARED_TOKENS
from farthing.models.token_key import TOKEN_BYTES, common_tokens


@dataclass(eq=False)
class Branch:
    """A beginning that is computed once, from the end of its parent's (None: from the first token) up to `depth`."""

    depth: int
    parent: Branch | None = None

    def parent_at(self, depth: int) -> tuple[Branch, Branch]:
        """The deepest beginning of this one of at most `depth` tokens, and the next on the way to this one."""
        child = self
        while True:
            assert child.parent is not None, "the root has no tokens"
            if child.parent.depth <= depth:
                return child.parent, child
            child = child.parent


class TokenCounter:
    """Of one batch.

    Texts are kept in order within groups that begin with the same few tokens, the fewest worth sharing (all tokens,
    where the model shares no prefixes). The longest beginning that a text has in common with any, it has in common with
    a neighbour in that order, so that no more than two are compared.
    """

    def __init__(self, *, shares_prefixes: bool = False) -> None:
        self._head_bytes = MIN_SHARED_TOKENS * TOKEN_BYTES if shares_prefixes else None  # None: the whole key
        self._groups: dict[bytes, list[bytes]] = {}
        self._texts: dict[bytes, Branch] = {}
        self._root = Branch(0)

    def add(self, key: bytes, most: int) -> int | None:
        """Put a text into the batch and return how many tokens it adds; None, and not put, when more than `most`."""
        if key in self._texts:
            return 0
        length, most = len(key) // TOKEN_BYTES, max(0, most)
        head = key[: self._head_bytes]
        group = self._groups.get(head)
        if group is None:
            if length > most:
                return None
            self._groups[head] = [key]
            self._texts[key] = Branch(length, self._root)
            return length
        place = bisect_left(group, key)
        near = group[max(0, place - 1) : place + 1]
        needed = max(0, length - most) * TOKEN_BYTES
        if all(other[:needed] != key[:needed] for other in near):
            return None  # seen in less time than it takes to count what they have in common
        parent, child, depth = self._fork(key, near)
        if length - depth > most:
            return None
        if depth > parent.depth:
            child.parent = parent = Branch(depth, parent)
        group.insert(place, key)
        self._texts[key] = Branch(length, parent)
        return length - depth

    def _fork(self, key: bytes, near: list[bytes]) -> tuple[Branch, Branch, int]:
        """From where a text goes on: the parent, or a new branch of that depth between parent and child."""
        depth, other = max((common_tokens(other, key), other) for other in near)
        text = self._texts[other]
        parent, child = text.parent_at(depth)
        above, below = depth - parent.depth, child.depth - depth
        # The engine would not share so few tokens; below, too, it would then share fewer than were counted.
        if above < MIN_SHARED_TOKENS or (child is not text and below < MIN_SHARED_TOKENS):
            depth = parent.depth
        return parent, child, depth


def counter_of(description: ModelDescription) -> Callable[[], TokenCounter]:
    """What makes a counter for a batch of this model."""
    return partial(TokenCounter, shares_prefixes=description.shares_prefixes)
