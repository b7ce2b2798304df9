"""Splits a text at its structure without asking the tokenizer about each piece that is tried.

A splitter asks for the number of tokens of some piece 9 to 16 times for each character of the text. Here the words of
the text are counted once and added up. Such a sum nearly always tells on which side of a limit a piece is. Only near a
limit is the piece itself counted, and so is each piece that comes out, since no sum is a promise.
"""

from __future__ import annotations

import bisect
import itertools
import re
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

from farthing.toolkit.documents.splitting.structure import structural_pieces

# A word and the white space before it: they are counted together, since some tokenizers take one blank for a part of
# the word. Longer words are counted in parts.
WORDS = re.compile(r"\s{0,1000}\S{1,1000}|\s{1,1000}")
WORDS_AT_A_TIME, MAX_KEPT_WORDS = 20_000, 100_000
# A piece itself is counted where its sum is within so many tokens of a limit, or within twice the largest error that a
# sum of this text has had.
NEAR_TOKENS = 4

CountEach = Callable[[Sequence[str]], Sequence[int]]


class Sizes(NamedTuple):
    """The limits of pieces: the most tokens, the most tokens shared with the piece before, and the most characters."""

    max_tokens: int
    overlap_tokens: int
    max_chars: int


def counted_pieces(kind: str, text: str, sizes: Sizes, count_each: CountEach) -> list[tuple[int, str]]:
    """Split a text into pieces, each returned with the place of its first character.

    Args:
        count_each: returns the number of tokens of each of some texts.

    Raises what `count_each` raises.
    """
    counts = TokenCounts(text, sizes, count_each)
    pieces = structural_pieces(kind, text, sizes.max_tokens, sizes.overlap_tokens, counts.near)
    if counts.most(pieces) > sizes.max_tokens:
        # A piece that cannot be cut shorter stays as it is.
        pieces = structural_pieces(kind, text, sizes.max_tokens, sizes.overlap_tokens, counts.exact)
    return pieces


class TokenCounts:
    """Counts the tokens of parts of `text`."""

    def __init__(self, text: str, sizes: Sizes, count_each: CountEach) -> None:
        self._text, self._sizes, self._count_each = text, sizes, count_each
        self._exact: dict[tuple[int, int], int] = {}  # by the place of a piece, and its length
        self._near_tokens = NEAR_TOKENS
        self._found = 0  # where the last piece was
        # Where each word ends, and how many tokens there are up to there.
        self._ends, self._totals = array("Q", [0]), array("Q", [0])
        kept: dict[str, int] = {}
        matches = WORDS.finditer(text)
        while words := [match.group() for match in itertools.islice(matches, WORDS_AT_A_TIME)]:
            new = [word for word in dict.fromkeys(words) if word not in kept]
            kept.update(zip(new, count_each(new), strict=True))
            for word in words:
                self._ends.append(self._ends[-1] + len(word))
                self._totals.append(self._totals[-1] + kept[word])
            if len(kept) > MAX_KEPT_WORDS:
                kept.clear()

    def near(self, piece: str) -> int:
        """The number of tokens of a piece: exact where that matters, else a number on the same side of each limit, as
        far as a sum tells."""
        if len(piece) > self._sizes.max_chars or (start := self._place(piece)) < 0:
            return self.exact(piece)
        added_up = self._before(start + len(piece)) - self._before(start)
        limits = self._sizes.max_tokens, self._sizes.overlap_tokens
        if all(limit == 0 or abs(added_up - limit) > self._near_tokens for limit in limits):
            return round(added_up)
        key = start, len(piece)
        if key not in self._exact:
            self._exact[key] = self.exact(piece)
            self._near_tokens = max(self._near_tokens, round(2 * abs(self._exact[key] - added_up)))
        return self._exact[key]

    def exact(self, piece: str) -> int:
        if len(piece) > self._sizes.max_chars:
            # Too long, however few tokens it has.
            return self._sizes.max_tokens + 1 + len(piece) // self._sizes.max_chars
        return self._count_each([piece])[0]

    def most(self, pieces: Sequence[tuple[int, str]]) -> int:
        """The largest number of tokens that one of the pieces has, exactly."""
        known = {piece: self._exact.get((start, len(piece))) for start, piece in pieces}
        uncounted = [piece for piece, num_tokens in known.items() if num_tokens is None]
        return max((*self._count_each(uncounted), *(num for num in known.values() if num is not None)), default=0)

    def _place(self, piece: str) -> int:
        """Where the piece, or one like it, stands in the text: as a rule near the last piece. It is -1 for a piece that
        is not in the text."""
        around = 4 * self._sizes.max_chars
        start = self._text.find(piece, max(0, self._found - around), self._found + around)
        if start < 0:
            start = self._text.find(piece)
        self._found = max(start, 0)
        return start

    def _before(self, place: int) -> float:
        """The number of tokens of the text up to a place. A word that the place cuts counts by the share of its
        characters."""
        word = bisect.bisect_right(self._ends, place)
        if word == len(self._ends):
            return float(self._totals[-1])
        first, end = self._ends[word - 1], self._ends[word]
        share = (place - first) / (end - first)
        return self._totals[word - 1] + share * (self._totals[word] - self._totals[word - 1])
