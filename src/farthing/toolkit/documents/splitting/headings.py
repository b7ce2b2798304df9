"""Finds the headings of a Markdown text, such as `## Use ##` or a line underlined with `===`, each in a time that the
length of its line bounds.

In: a text, or a line of one. Out: levels and titles. No regular expression is used: one that allows blanks and closing
hashes in any order goes back and forth over a long run of them. What counts as a fence, and what underlines a line,
follows CommonMark 0.31 (https://spec.commonmark.org), without its lists and quotes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

BLANKS = " \t"
MAX_LEVEL = 6
FENCE_MARKS, LEAST_FENCE = "`~", 3
UNDERLINES = {"=": 1, "-": 2}
RULE_MARKS = "-*_" + BLANKS
# A line that begins with more blanks is code.
MAX_INDENT = 3
# A longer title is not a heading that anybody reads, and it would be kept with every passage below it.
MAX_TITLE_CHARS = 200


class Heading(NamedTuple):
    """A heading; `start` is the place of its line's first character in the text."""

    start: int
    level: int
    title: str


def headings(text: str) -> Iterator[Heading]:
    """The headings outside of fenced code, in order. Titles are cut to `MAX_TITLE_CHARS`."""
    start, fence = 0, ""
    paragraph: list[tuple[int, str]] = []  # the lines that an underline would turn into a heading
    for line in text.splitlines(keepends=True):
        mark = fence_of(line)
        if fence:
            if closes(mark, fence, line):
                fence = ""
        elif mark:
            fence, paragraph = mark, []
        else:
            level, title = heading_of(line)
            underline = 0 if level or not paragraph else underline_level(line)
            if level:
                yield Heading(start, level, title)
            elif underline:
                words = " ".join(part.strip() for _, part in paragraph[:MAX_TITLE_CHARS])
                yield Heading(paragraph[0][0], underline, words[:MAX_TITLE_CHARS].rstrip())
            if level or underline or not may_be_underlined(line, paragraph):
                paragraph = []
            else:
                paragraph.append((start, line[:MAX_TITLE_CHARS]))
        start += len(line)


def heading_of(line: str) -> tuple[int, str]:
    """The level and title of a line that is a heading; level 0 for any other line."""
    rest = line.lstrip("#")
    level = len(line) - len(rest)
    if not 1 <= level <= MAX_LEVEL or rest[:1] not in tuple(BLANKS):
        return 0, ""
    content = rest.strip()
    title = content.rstrip("#").rstrip() or content
    return (level, title[:MAX_TITLE_CHARS].rstrip()) if title else (0, "")


def fence_of(line: str) -> str:
    """The backticks or tildes with which a line begins or ends fenced code; an empty text for any other line."""
    content = line.lstrip(" ")
    mark = content[:1]
    rest = content.lstrip(mark) if mark in FENCE_MARKS and mark else content
    length = len(content) - len(rest)
    is_fence = length >= LEAST_FENCE and len(line) - len(content) <= MAX_INDENT and not (mark == "`" and "`" in rest)
    return mark * length if is_fence else ""


def closes(mark: str, fence: str, line: str) -> bool:
    """Whether a line with the fence `mark` ends code that began with `fence`."""
    return mark.startswith(fence) and line.strip() == mark


def underline_level(line: str) -> int:
    """1 or 2 for a line that makes a heading of the line before it; 0 for any other line."""
    content = line.strip()
    if not content or content.strip(content[0]) or len(line) - len(line.lstrip(" ")) > MAX_INDENT:
        return 0
    return UNDERLINES.get(content[0], 0)


def may_be_underlined(line: str, paragraph: list[tuple[int, str]]) -> bool:
    """Whether a line is part of a paragraph: not blank, and no rule, code, list, quote, table or HTML."""
    content = line.strip()
    if not content.strip(RULE_MARKS) or (not paragraph and len(line) - len(line.lstrip(BLANKS)) > MAX_INDENT):
        return False
    marker = content.split(maxsplit=1)[0]
    is_item = marker in ("-", "+", "*") or (marker[:-1].isdecimal() and marker[-1] in ".)")
    return not (is_item or content[0] in ">|<")
