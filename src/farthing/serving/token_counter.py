"""How many tokens a batch will compute, counted while it is filled.

In: token keys (`farthing.models.token_key`), one text after the other. Out: the tokens that each adds. A text that is
in the batch already adds none; where the model shares prefixes, one that begins as another adds what follows that
beginning. Does not know how the engine computes them.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from farthing.models.token_key import TOKEN_BYTES, common_tokens

MIN_SHARED_TOKENS = 8


class TokenCounter:
    """Of one batch.

    Texts are kept in order within groups that begin with the same few tokens, the fewest worth sharing (all tokens,
    where the model shares no prefixes). The longest beginning that a text has in common with any, it has in common with
    a neighbour in that order, so that no more than two are compared.
    """

    def __init__(self, *, shares_prefixes: bool = False) -> None:
        self._head_bytes = MIN_SHARED_TOKENS * TOKEN_BYTES if shares_prefixes else None  # None: the whole key
        self._groups: dict[bytes, list[bytes]] = {}

    def cost(self, key: bytes, most: int) -> int | None:
        """Tokens that the text would add; None when they are more than `most`, which takes less time to see."""
        length = len(key) // TOKEN_BYTES
        group = self._groups.get(key[: self._head_bytes])
        if group is None:
            return length if length <= most else None
        place = bisect_left(group, key)
        neighbours = group[max(0, place - 1) : place + 1]
        if key in neighbours:
            return 0
        needed = (length - max(0, most)) * TOKEN_BYTES  # that many bytes in common, or it is too much
        if needed > 0 and all(other[:needed] != key[:needed] for other in neighbours):
            return None
        return length - max(common_tokens(other, key) for other in neighbours)

    def add(self, key: bytes) -> None:
        """Put a text into the batch."""
        insort(self._groups.setdefault(key[: self._head_bytes], []), key)
