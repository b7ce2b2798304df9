"""Cuts any text into pieces that fit, in time that grows with its length alone.

This is for texts whose structure takes too long to find. In: a text, and how many tokens a piece may have. Out: pieces,
in order. A piece ends with the last paragraph of what fits, or else with the last line, sentence or word. A text
without any of these is cut between characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

# What a piece may end with. The first of these that stands in the second half of what fits is taken.
ENDS = ("\n\n", "\n", ". ", "。", "! ", "? ", "！", "？", " ", "\t")
# The usual characters of a token, which tell where to look first for the end of a piece.
USUAL_CHARS = 5


def plain_pieces(
    text: str, max_tokens: int, overlap_tokens: int, max_chars: int, count_tokens: Callable[[str], int]
) -> Iterator[tuple[int, str]]:
    """Yield the pieces of a text, each with the place of its first character.

    Args:
        max_chars: the most characters of a piece, however few tokens they are.

    Only a piece of a single character may have too many tokens.
    """
    start = covered = 0
    while covered < len(text):
        most = longest_fitting(text, start, max_tokens, max_chars, count_tokens)
        if most <= covered and start < covered:
            start = covered  # what this piece would share with the one before leaves no room for more
            continue
        end = set_back(text, max(start + (most - start) // 2, covered), most)
        yield start, text[start:end]
        num_shared = (end - start) * overlap_tokens // max_tokens
        start, covered = word_start(text, max(start + 1, end - num_shared), end), end


def longest_fitting(text: str, start: int, max_tokens: int, max_chars: int, count_tokens: Callable[[str], int]) -> int:
    """The end of the longest piece from `start` that fits."""
    fitting, too_long = start + 1, min(len(text), start + max_chars) + 1
    tried = min(start + USUAL_CHARS * max_tokens, too_long - 1)
    while too_long - fitting > 1:
        if count_tokens(text[start:tried]) <= max_tokens:
            fitting = tried
        else:
            too_long = tried
        tried = (fitting + too_long) // 2
    return fitting


def set_back(text: str, earliest: int, latest: int) -> int:
    """The end of the last paragraph, line, sentence or word that ends between these places; else `latest`."""
    if latest < len(text):
        for mark in ENDS:
            found = text.rfind(mark, earliest, latest)
            if found >= 0:
                return found + len(mark)
    return latest


def word_start(text: str, earliest: int, latest: int) -> int:
    """The start of the first word that begins between these places; `latest` where none does."""
    found = text.find(" ", earliest, latest)
    return found + 1 if found >= 0 else latest
