"""Headings of a Markdown text, such as `## Use ##`, each in time that its line's length bounds.

In: a text, or a line of one. Out: levels and titles. No regular expression: one that allows blanks and closing hashes
in any order goes back and forth over a long run of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

BLANKS = " \t"
MAX_LEVEL = 6
FENCES = ("```", "~~~")
MAX_FENCE_INDENT = 3
# Of a heading's title. What is longer is no heading that anybody reads, and is kept with every passage below it.
MAX_TITLE_CHARS = 200


class Heading(NamedTuple):
    """`start` is the first character of its line in the text."""

    start: int
    level: int
    title: str


def headings(text: str) -> Iterator[Heading]:
    """Those outside of fenced code, in order. Titles are cut to `MAX_TITLE_CHARS`."""
    start, is_code = 0, False
    for line in text.splitlines(keepends=True):
        if is_fence(line):
            is_code = not is_code
        elif not is_code:
            level, title = heading_of(line)
            if level:
                yield Heading(start, level, title)
        start += len(line)


def heading_of(line: str) -> tuple[int, str]:
    """Level and title of a line that is a heading; level 0 of any other."""
    rest = line.lstrip("#")
    level = len(line) - len(rest)
    if not 1 <= level <= MAX_LEVEL or rest[:1] not in tuple(BLANKS):
        return 0, ""
    content = rest.strip()
    title = content.rstrip("#").rstrip() or content
    return (level, title[:MAX_TITLE_CHARS].rstrip()) if title else (0, "")


def is_fence(line: str) -> bool:
    content = line.lstrip(" ")
    return content.startswith(FENCES) and len(line) - len(content) <= MAX_FENCE_INDENT
