"""Finds the prefixes that texts share within a batch and with texts of earlier batches.

In: the token ids of a batch. Out: a `Forest` in which shared tokens are there once, and in which prefixes that came
back (an instruction, a reranker's prompt) continue from keys and values held since. A prefix is held when a text of an
earlier batch had it too; the least recently used prefix goes first. This works for causal models only: for others,
nothing but identical texts is found (`farthing.models.batch.forest.distinct_forest`).
"""

from __future__ import annotations

from bisect import bisect
from collections import OrderedDict, deque
from collections.abc import Sequence

from farthing.core.deferred import dataclass
from farthing.models.batch.forest import MIN_SHARED_TOKENS, Forest, Segment, distinct, grow
from farthing.models.batch.held_keys import HeldKeys, KnownPrefix
from farthing.models.batch.token_key import TOKEN_BYTES, common_tokens, token_key

# A prefix has to be this much longer than the part of it that is held already.
MIN_HELD_TOKENS = 16
# How many texts of a batch are remembered, how many in all, and how many tokens of each.
REMEMBERED_OF_A_BATCH, REMEMBERED, REMEMBERED_TOKENS = 16, 64, 2048
STORED_OF_A_BATCH = 4
# One prefix takes at most one part in this many of the budget.
LARGEST_SHARE = 4


@dataclass(frozen=True)
class Start:
    """What texts of a batch continue from: `num_tokens` of held keys, of keys that will be held, or nothing."""

    num_tokens: int = 0
    held: HeldKeys | None = None
    stored: bytes | None = None


class PrefixCache:
    """
    Args:
        budget_bytes: the most bytes that are held.
        token_bytes: the bytes held for one token.
    """

    def __init__(self, budget_bytes: int, token_bytes: int) -> None:
        self._budget_bytes, self._token_bytes = budget_bytes, token_bytes
        self._held: OrderedDict[bytes, HeldKeys] = OrderedDict()  # by prefix, the least recently used first
        self._recent: deque[bytes] = deque(maxlen=REMEMBERED)

    @property
    def _max_tokens(self) -> int:
        return self._budget_bytes // LARGEST_SHARE // self._token_bytes

    @property
    def num_bytes(self) -> int:
        return sum(held.num_bytes for held in self._held.values())

    def limit(self, budget_bytes: int) -> None:
        """Hold no more than `budget_bytes` from now on."""
        self._budget_bytes = budget_bytes
        self._make_room(0)

    def forest(self, texts: Sequence[Sequence[int]]) -> Forest:
        """The forest of a batch. Once it is computed, `keep` holds the prefixes that it marks as stored."""
        keys = [token_key(text) for text in texts]
        first, like = distinct(keys)
        forest = Forest(texts, ends=[-1] * len(texts))
        for start, members in self._groups(first, keys).items():
            parent, known = -1, -1
            if start.held is not None:
                forest.known.append(KnownPrefix(start.held, start.num_tokens))
                known = len(forest.known) - 1
            if start.stored is not None:
                parent = forest.add(Segment(members[0], 0, start.num_tokens))
                forest.stored[parent] = HeldKeys(start.num_tokens)
            grow(forest, keys, members, start.num_tokens, parent, known)
        forest.ends = [forest.ends[index] for index in like]
        self._remember(forest, keys)
        return forest

    def keep(self, forest: Forest) -> None:
        """Hold the keys and values that a pass has stored for the forest."""
        for segment, held in forest.stored.items():
            key = token_key(forest.texts[forest.segments[segment].text][: held.num_tokens])
            for shorter in [other for other in self._held if key.startswith(other)]:
                del self._held[shorter]
            self._held[key] = held
        self._make_room(0)

    def _groups(self, first: Sequence[int], keys: Sequence[bytes]) -> dict[Start, list[int]]:
        """The distinct texts, grouped by what they continue from."""
        held, recent = sorted(self._held), sorted(self._recent)
        groups: dict[Start, list[int]] = {}
        coming_back = []
        for index in first:
            start = self._known(keys[index], held)
            _, num_recent = longest(recent, keys[index])
            if start.num_tokens + MIN_HELD_TOKENS <= num_recent <= self._max_tokens:
                coming_back.append((num_recent, index, start))
            else:
                groups.setdefault(start, []).append(index)
        for num_recent, index, start in sorted(coming_back, key=lambda found: found[:2]):
            chosen = stored_start(keys[index], num_recent, groups)
            groups.setdefault(chosen or start, []).append(index)
        self._make_room(sum(start.num_tokens for start in groups if start.stored) * self._token_bytes)
        return groups

    def _known(self, key: bytes, held: Sequence[bytes]) -> Start:
        """The longest held prefix of a text, without the text's last token, whose row is wanted."""
        found, num_tokens = longest(held, key)
        num_tokens = min(num_tokens, len(key) // TOKEN_BYTES - 1)
        if num_tokens < MIN_SHARED_TOKENS:
            return Start()
        self._held.move_to_end(found)
        return Start(num_tokens, held=self._held[found])

    def _make_room(self, num_bytes: int) -> None:
        while self._held and self.num_bytes + num_bytes > self._budget_bytes:
            self._held.popitem(last=False)

    def _remember(self, forest: Forest, keys: Sequence[bytes]) -> None:
        """Remember a text for each prefix of the batch, by which the prefix will be found when it comes back."""
        if self._max_tokens < MIN_HELD_TOKENS:
            return
        roots = [segment.text for segment in forest.segments if segment.parent < 0]
        for text in roots[:REMEMBERED_OF_A_BATCH]:
            key = keys[text][: REMEMBERED_TOKENS * TOKEN_BYTES]
            if key not in self._recent:
                self._recent.append(key)


def stored_start(key: bytes, num_tokens: int, groups: dict[Start, list[int]]) -> Start | None:
    """The start of a text whose first `num_tokens` came back; None when enough will be held after this batch.

    Where a prefix that will be held already is about as long, the text continues from that.
    """
    stored = [start for start in groups if start.stored is not None]
    for start in stored:
        if start.num_tokens + MIN_HELD_TOKENS > num_tokens and key.startswith(start.stored or b""):
            return start
    if len(stored) >= STORED_OF_A_BATCH:
        return None
    return Start(num_tokens, stored=key[: num_tokens * TOKEN_BYTES])


def longest(ordered: Sequence[bytes], key: bytes) -> tuple[bytes, int]:
    """The key of a sorted list that shares most tokens with `key`, and how many; only its neighbours are looked at."""
    place = bisect(ordered, key)
    near = ordered[max(0, place - 1) : place + 1]
    return max(((other, common_tokens(other, key)) for other in near), key=lambda found: found[1], default=(b"", 0))
