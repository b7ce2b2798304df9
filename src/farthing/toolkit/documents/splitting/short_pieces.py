"""Extends short pieces of code into the pieces that follow them.

A function that does not fit as a whole is cut after its first line, which by itself says little about what the function
does. In: pieces in order. Out: the same pieces, the short ones with the first lines of the next piece added.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator, Sequence

Piece = tuple[int, str]  # the place of its first character, and its text


def with_what_follows(
    text: str, pieces: Sequence[Piece], max_tokens: int, shared_tokens: int, count_tokens: Callable[[str], int]
) -> Iterator[Piece]:
    """The pieces in order, the short ones extended by the first lines of the next piece.

    Args:
        max_tokens: the most tokens of a piece.
        shared_tokens: the most tokens that neighbours may share. A piece with no more than these is short, and at most
            so many are added to it.
    """
    for piece, following in itertools.pairwise(pieces):
        yield lengthened(text, piece, following, max_tokens, shared_tokens, count_tokens)
    yield from pieces[-1:]


def lengthened(
    text: str,
    piece: Piece,
    following: Piece,
    max_tokens: int,
    shared_tokens: int,
    count_tokens: Callable[[str], int],
) -> Piece:
    (start, own), (next_start, next_own) = piece, following
    if next_start < start + len(own) or count_tokens(own) > shared_tokens:
        return piece
    ends = [*(place for place, letter in enumerate(next_own) if letter == "\n"), len(next_own)]
    num_lines = bisect.bisect_right(ends, shared_tokens, key=lambda end: count_tokens(next_own[:end]))
    longer = text[start : next_start + ends[num_lines - 1]] if num_lines else own
    return (start, longer) if count_tokens(longer) <= max_tokens else piece
