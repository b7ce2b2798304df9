"""What to show of a passage: the part that answers, with the words of the query marked.

In: a passage's text and a query. Out: a stretch of the text and the places of matching words in it. Words match as
keyword search counts them, so that "resets" is marked for "reset"; a query in another language marks nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from farthing.toolkit.index.words import RUN, Segmenter

LENGTH = 280
WORD_START = re.compile(r"(?<=\s)\S")
# Shorter words say little: they are marked only where the query has no others.
MIN_SPACED_CHARS, MIN_UNSPACED_CHARS = 3, 2


class Excerpt(NamedTuple):
    """`marks` are (start, end) of the words in `text` that match, in order."""

    text: str
    marks: list[tuple[int, int]]
    is_start: bool
    is_end: bool


def excerpt(text: str, query: str, segmenter: Segmenter, length: int = LENGTH) -> Excerpt:
    """The `length` characters in which most different words of the query stand, white space made single."""
    line = " ".join(text.split())
    marks = marks_of(line, query, segmenter)
    start = best_start(line, marks, length)
    end = min(len(line), start + length)
    if end < len(line):
        cut = line.rfind(" ", start + length // 2, end)
        end = cut if cut > start else end
    inside = [(first - start, last - start) for first, last in marks if first >= start and last <= end]
    return Excerpt(line[start:end], inside, start == 0, end == len(line))


def marks_of(line: str, query: str, segmenter: Segmenter) -> list[tuple[int, int]]:
    wanted = longer(segmenter.words(query), MIN_SPACED_CHARS)
    surfaces = longer(segmenter.surfaces(query), MIN_UNSPACED_CHARS)
    found = []
    for run in RUN.finditer(line):
        if run.lastgroup == "spaced":
            if wanted.intersection(segmenter.words(run.group())):
                found.append(run.span())
        else:
            found += [(run.start() + first, run.start() + last) for first, last in literal(run.group(), surfaces)]
    return found


def longer(words: Iterable[str], num_chars: int) -> set[str]:
    """Those of at least so many characters, or all where there are none."""
    every = set(words)
    return {word for word in every if len(word) >= num_chars} or every


def literal(run: str, surfaces: set[str]) -> list[tuple[int, int]]:
    """Where the longest of these words stand in a text without spaces."""
    if not surfaces:
        return []
    longest_first = sorted(surfaces, key=len, reverse=True)
    return [found.span() for found in re.finditer("|".join(map(re.escape, longest_first)), run)]


def best_start(line: str, marks: list[tuple[int, int]], length: int) -> int:
    """Of the stretch with most different marked words; a little before the first of them."""
    if len(line) <= length or not marks:
        return 0
    words = [unicodedata.normalize("NFKC", line[first:last]).casefold() for first, last in marks]
    best, most = 0, 0
    for index, (first, _) in enumerate(marks):
        inside = {words[at] for at in range(index, len(marks)) if marks[at][1] <= first + length}
        if len(inside) > most:
            best, most = first, len(inside)
    earliest = max(0, min(best - length // 4, len(line) - length))
    if earliest == 0:
        return 0
    word = WORD_START.search(line, earliest, best + 1)
    return word.start() if word else earliest
