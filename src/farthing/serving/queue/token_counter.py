"""How many tokens a batch will compute, counted while it is filled.

In: token keys (`farthing.models.batch.token_key`), one text after the other. Out: the tokens that each text adds. A
text that is in the batch already adds none. Where the model shares prefixes, a text that begins like another adds only
the tokens behind the common beginning. The sum is about what `farthing.models.batch.forest` makes of the batch, and
rather more than less. Which beginnings are held from earlier batches is not known here, so they count as computed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import partial

from farthing.core.deferred import dataclass
from farthing.engine.describe import ModelDescription
from farthing.models.batch.forest import MIN_SHARED_TOKENS
from farthing.models.batch.token_key import TOKEN_BYTES, common_tokens


@dataclass(eq=False)
class Branch:
    """A beginning that is computed once, from the end of its parent's (None: from the first token) up to `depth`."""

    depth: int
    parent: Branch | None = None

    def parent_at(self, depth: int) -> tuple[Branch, Branch]:
        """The deepest beginning of this one with at most `depth` tokens, and the next deeper one on the way to this
        one.
        """
        child = self
        while True:
            assert child.parent is not None, "the root has no tokens"
            if child.parent.depth <= depth:
                return child.parent, child
            child = child.parent


class TokenCounter:
    """Counts the tokens of one batch.

    Texts are kept in order within groups that begin with the same tokens: the fewest that are worth sharing, or all of
    a text's tokens where the model shares no prefixes. The longest beginning that a text has in common with any other,
    it has in common with a neighbour in that order, so that it is compared with two texts at most.
    """

    def __init__(self, *, shares_prefixes: bool = False) -> None:
        self._head_bytes = MIN_SHARED_TOKENS * TOKEN_BYTES if shares_prefixes else None  # None: the whole key
        self._groups: dict[bytes, list[bytes]] = {}
        self._texts: dict[bytes, Branch] = {}
        self._root = Branch(0)

    def add(self, key: bytes, most: int) -> int | None:
        """Put a text into the batch and return how many tokens it adds; leave it out and return None when it adds more
        than `most`.
        """
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
            return None  # takes less time than counting the tokens that they have in common
        parent, child, depth = self._fork(key, near)
        if length - depth > most:
            return None
        if depth > parent.depth:
            child.parent = parent = Branch(depth, parent)
        group.insert(place, key)
        self._texts[key] = Branch(length, parent)
        return length - depth

    def _fork(self, key: bytes, near: list[bytes]) -> tuple[Branch, Branch, int]:
        """Where a text branches off: at `depth`, which is the parent's own or lies between the parent and its child."""
        depth, other = max((common_tokens(other, key), other) for other in near)
        text = self._texts[other]
        parent, child = text.parent_at(depth)
        above, below = depth - parent.depth, child.depth - depth
        # The engine would not share so few tokens. With too few below the fork, it would share fewer there than were
        # counted, too.
        if above < MIN_SHARED_TOKENS or (child is not text and below < MIN_SHARED_TOKENS):
            depth = parent.depth
        return parent, child, depth


def counter_of(description: ModelDescription) -> Callable[[], TokenCounter]:
    """A function that makes a token counter for a batch of this model."""
    return partial(TokenCounter, shares_prefixes=description.shares_prefixes)
