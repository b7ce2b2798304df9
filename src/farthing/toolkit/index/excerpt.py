"""Picks what to show of a passage: the part that answers, with the words of the query marked.

In: a passage's text and a query. Out: a stretch of the text and the places of matching words in it. Words match as in
keyword search, so that "resets" is marked for "reset"; a query in another language marks nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from textwrap import dedent
from typing import NamedTuple

from farthing.toolkit.documents.kinds import KINDS, LANGUAGES, OTHER_TEXT, suffix_of
from farthing.toolkit.index.words import MAX_WORD_CHARS, RUN, Segmenter
from farthing.toolkit.spelling import search_form

LENGTH = 280
# The suffixes of `OTHER_TEXT` whose lines are broken anywhere.
PROSE = frozenset({"adoc", "asc", "org", "rst", "tex", "txt"})
WORD_START = re.compile(r"(?<=\s)\S")
# Shorter words say little: they are marked only where the query has no others.
MIN_SPACED_CHARS, MIN_UNSPACED_CHARS = 3, 2


def is_of_lines(source: str) -> bool:
    """Whether a passage's lines mean something, as in code, settings or a log, by the file that it came from."""
    suffix = suffix_of(source.rpartition(":")[0] or source)
    return KINDS.get(suffix) in LANGUAGES or (suffix in OTHER_TEXT and suffix not in PROSE)


class Excerpt(NamedTuple):
    """A stretch of a passage; `marks` are (start, end) of the words in `text` that match, in order."""

    text: str
    marks: list[tuple[int, int]]
    is_start: bool
    is_end: bool


class Wanted:
    """The words of a query that are to be marked, found once for all results.

    Raises `MissingExtraError` where a segmenter that the query needs is not installed.
    """

    def __init__(self, query: str, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._words = longer(segmenter.asked(query).content, MIN_SPACED_CHARS)
        surfaces = [word for word in segmenter.surfaces(query) if len(word) <= MAX_WORD_CHARS]
        self._surfaces = longer(surfaces, MIN_UNSPACED_CHARS)
        # The lengths of the surfaces that begin with each letter, the longest first.
        self._lengths: dict[str, list[int]] = {}
        for first, length in sorted({(word[0], len(word)) for word in self._surfaces}, reverse=True):
            self._lengths.setdefault(first, []).append(length)

    def excerpt(self, text: str, length: int = LENGTH, *, keeps_lines: bool = False) -> Excerpt:
        """The `length` characters that hold the most different words of the query.

        White space is made single, unless the text `keeps_lines`: then whole lines are taken where they are not too
        long, without the indentation that they all share.
        """
        line = dedent(text.strip("\n").expandtabs(4)).rstrip() if keeps_lines else " ".join(text.split())
        marks = self._marks(line)
        start = best_start(line, marks, length)
        if keeps_lines:
            line_start = line.rfind("\n", 0, start) + 1
            start = line_start if start - line_start <= length // 4 else start
        end = min(len(line), start + length)
        if end < len(line):
            cut = line.rfind("\n" if keeps_lines else " ", start + length // 2, end)
            end = cut if cut > start else end
        inside = [(first - start, last - start) for first, last in marks if first >= start and last <= end]
        return Excerpt(line[start:end], inside, start == 0, end == len(line))

    def _marks(self, line: str) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        is_wanted: dict[str, bool] = {}  # the same words come again and again
        for run in RUN.finditer(line):
            word = run.group()
            if run.lastgroup != "spaced":
                found += [(run.start() + first, run.start() + last) for first, last in self._literal(word)]
                continue
            if word not in is_wanted:
                is_wanted[word] = not self._words.isdisjoint(self._segmenter.words(word))
            if is_wanted[word]:
                found.append(run.span())
        return found

    def _literal(self, run: str) -> Iterator[tuple[int, int]]:
        """The places of the longest surfaces in a text without spaces, from left to right."""
        at = 0
        while at < len(run):
            lengths = self._lengths.get(run[at], ())
            length = next((length for length in lengths if run[at : at + length] in self._surfaces), 0)
            if length:
                yield at, at + length
            at += length or 1


def longer(words: Iterable[str], num_chars: int) -> set[str]:
    """The words of at least so many characters, or all words where there are none."""
    every = set(words)
    return {word for word in every if len(word) >= num_chars} or every


def best_start(line: str, marks: list[tuple[int, int]], length: int) -> int:
    """The start of the stretch with the most different marked words, a little before the first of them."""
    if len(line) <= length or not marks:
        return 0
    words = [search_form(line[first:last]) for first, last in marks]
    best, most = 0, 0
    inside: Counter[str] = Counter()
    behind = 0  # the first mark after the stretch that begins at this mark
    for index, (first, _) in enumerate(marks):
        while behind < len(marks) and marks[behind][1] <= first + length:
            inside[words[behind]] += 1
            behind += 1
        if len(inside) > most:
            best, most = first, len(inside)
        if behind == index:
            behind += 1  # the word is longer than the stretch
            continue
        inside[words[index]] -= 1
        if not inside[words[index]]:
            del inside[words[index]]
    earliest = max(0, min(best - length // 4, len(line) - length))
    if earliest == 0:
        return 0
    word = WORD_START.search(line, earliest, best + 1)
    return word.start() if word else earliest
