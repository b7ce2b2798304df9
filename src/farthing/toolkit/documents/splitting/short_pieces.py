"""Lets short pieces of code go on into what follows them.

A function that does not fit as a whole is cut behind its first line, which says little by itself of what the function
does. In: pieces in order. Out: the same, of which short ones have the first lines of the next one as well.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator, Sequence

Piece = tuple[int, str]  # the first character's place, and the piece


def with_what_follows(
    text: str, pieces: Sequence[Piece], max_tokens: int, shared_tokens: int, count_tokens: Callable[[str], int]
) -> Iterator[Piece]:
    """
    Args:
        max_tokens: of a piece.
        shared_tokens: that neighbours may share. A piece of no more is short, and no more is put behind it.
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
