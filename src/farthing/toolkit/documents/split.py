"""Splits a document into parts that a model can embed: at its structure, by tokens, with an overlap.

In: a document, and how many tokens a text has. Out: parts with their places in it. Markdown is split at headings and
blocks, code at what its grammar calls a unit, other text at paragraphs and sentences; neighbours are put together as
long as they fit (https://github.com/benbrandt/text-splitter).
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from farthing.core.errors import InputError
from farthing.toolkit.documents.document import MARKDOWN, PLAIN_TEXT, Document
from farthing.toolkit.documents.kinds import LANGUAGES
from farthing.toolkit.extra import needed

CountTokens = Callable[[str], int]

MAX_TOKENS = 384
# Of a part's tokens, how many may stand in the one before it too.
OVERLAP = 0.125
# What a model's prompt and its special tokens may take.
ADDED_TOKENS = 8
# So many characters a token are no text that would fit; spares counting whole books.
SURELY_LONGER = 32
# A title or heading longer than this share of a part is no help to it.
MAX_CONTEXT = 0.5

HEADING = re.compile(r"^(?P<level>#{1,6})[ \t]+(?P<title>.+?)[ \t]*#*[ \t]*$")
FENCE = re.compile(r"^[ ]{0,3}(```|~~~)")


class Part(NamedTuple):
    """
    Attributes:
        start: its first character in the document's text.
        line: in which that is, from 1.
        heading: of the section in which it begins, with those above it: "Install > On Windows".
    """

    text: str
    start: int
    line: int
    heading: str


@dataclass(frozen=True)
class Splitting:
    """How long the parts of a document may be, title and heading included, and what they share.

    Raises `InputError` for numbers that make no sense.
    """

    max_tokens: int
    overlap_tokens: int

    def __post_init__(self) -> None:
        if self.max_tokens < 16:
            raise InputError(f"max_tokens is {self.max_tokens}; a passage has at least 16.", param="max_tokens")
        if not 0 <= self.overlap_tokens <= self.max_tokens // 2:
            raise InputError(
                f"overlap_tokens is {self.overlap_tokens}; it must be from 0 to half of max_tokens "
                f"({self.max_tokens}).",
                param="overlap_tokens",
            )


def splitting_for(context_length: int, max_tokens: int | None, overlap_tokens: int | None) -> Splitting:
    """What was asked for, else what suits search in a model of this context, 0 where it is not known.

    Raises `InputError`.
    """
    limit = context_length - ADDED_TOKENS if context_length else max(max_tokens or 0, MAX_TOKENS)
    if max_tokens is not None and max_tokens > limit:
        raise InputError(
            f"max_tokens is {max_tokens}; of this model's {context_length} tokens, {limit} are left for a passage.",
            param="max_tokens",
        )
    most = max_tokens or min(MAX_TOKENS, limit)
    return Splitting(most, int(most * OVERLAP) if overlap_tokens is None else overlap_tokens)


def split(document: Document, splitting: Splitting, count_tokens: CountTokens) -> Iterator[Part]:
    """The document's parts in order; one where all of it fits, none where there is nothing but white space.

    Raises `InputError` for a kind of text that is not known.
    """
    if document.kind not in (PLAIN_TEXT, MARKDOWN, *LANGUAGES):
        raise InputError(
            f"The kind of a document is {document.kind!r}; it must be {PLAIN_TEXT}, {MARKDOWN} or one of "
            f"{', '.join(LANGUAGES)}.",
            param="kind",
        )
    headings = headings_of(document)
    longest = max((heading for _, heading in headings), key=len, default="")
    above = count_tokens(f"{document.title}\n{longest}\n") if document.title or longest else 0
    room = max(splitting.max_tokens - above, int(splitting.max_tokens * MAX_CONTEXT))
    text = document.text
    if len(text) < SURELY_LONGER * room and count_tokens(text) <= room:
        pieces = [(0, text)]
    else:
        splitter = splitter_for(document.kind, room, min(splitting.overlap_tokens, room // 2), count_tokens)
        pieces = splitter.chunk_indices(text)
    starts = [start for start, _ in headings]
    line, counted_to = 1, 0
    for start, piece in pieces:
        trimmed = piece.strip()
        if not trimmed:
            continue
        place = start + piece.index(trimmed[0])
        line, counted_to = line + text.count("\n", counted_to, place), place
        found = bisect.bisect_right(starts, place) - 1
        yield Part(trimmed, place, line, headings[found][1] if found >= 0 else "")


def splitter_for(kind: str, max_tokens: int, overlap_tokens: int, count_tokens: CountTokens) -> Any:
    with needed("Splitting long documents"):
        from semantic_text_splitter import CodeSplitter, MarkdownSplitter, TextSplitter
    if kind == PLAIN_TEXT:
        return TextSplitter.from_callback(count_tokens, max_tokens, overlap_tokens)
    if kind == MARKDOWN:
        return MarkdownSplitter.from_callback(count_tokens, max_tokens, overlap_tokens)
    with needed(f"Splitting {kind}"):
        grammar = grammar_of(kind)
    return CodeSplitter.from_callback(grammar, count_tokens, max_tokens, overlap_tokens)


def grammar_of(language: str) -> Any:
    """Tree-sitter's grammar of a language of `kinds.LANGUAGES`."""
    package, function = {
        "php": ("php", "language_php"),
        "tsx": ("typescript", "language_tsx"),
        "typescript": ("typescript", "language_typescript"),
    }.get(language, (language, "language"))
    return getattr(import_module(f"tree_sitter_{package}"), function)()


def headings_of(document: Document) -> list[tuple[int, str]]:
    """Where each section of a Markdown document begins, and the headings that it stands under."""
    return list(markdown_headings(document)) if document.kind == MARKDOWN else []


def markdown_headings(document: Document) -> Iterator[tuple[int, str]]:
    path: list[tuple[int, str]] = []
    start, is_code = 0, False
    for line in document.text.splitlines(keepends=True):
        if FENCE.match(line):
            is_code = not is_code
        found = None if is_code else HEADING.match(line.rstrip("\r\n"))
        if found:
            level = len(found["level"])
            path = [(above, title) for above, title in path if above < level] + [(level, found["title"])]
            # The document's own title is said already.
            yield start, " > ".join(title for _, title in path if title != document.title)
        start += len(line)
