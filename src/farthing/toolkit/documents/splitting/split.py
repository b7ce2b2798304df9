"""Splits a document into parts that a model can embed: at its structure, by tokens, with an overlap.

In: a document, and how many tokens a text has. Out: parts with their places in it. Markdown is split at headings and
blocks, code at what its grammar calls a unit, other text at paragraphs and sentences. Where finding the structure takes
too long, or it nests too deep, any text is cut between lines, sentences or words.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from farthing.core.errors import InputError
from farthing.toolkit.documents.document import MARKDOWN, PLAIN_TEXT, Document
from farthing.toolkit.documents.limits import check_kind, named
from farthing.toolkit.documents.splitting.counted_pieces import Sizes, counted_pieces
from farthing.toolkit.documents.splitting.headings import headings
from farthing.toolkit.documents.splitting.plain_pieces import plain_pieces
from farthing.toolkit.documents.splitting.short_pieces import with_what_follows
from farthing.toolkit.documents.splitting.split_process import CountTokens, SplitProcess, TooComplexError
from farthing.toolkit.documents.splitting.structure import require

MAX_TOKENS = 384
# Of a part's tokens, how many may stand in the one before it too.
OVERLAP = 0.125
# What a model's prompt and its special tokens may take.
ADDED_TOKENS = 8
# Longer texts are taken to have more tokens than the tokenizer says. Spares counting whole books, and bounds parts.
MOST_CHARS_PER_TOKEN = 32
# Plain text of so many characters is split in this process: that takes some 50 ms at worst, and a process longer.
MAX_CHARS_HERE = 20_000
MOST_NAMED = 10
# A title or heading longer than this share of a part is no help to it.
MAX_CONTEXT = 0.5


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


class Splitter:
    """Splits documents, of one thread at a time. To be closed.

    Args:
        on_step: called often while a document is split; what it raises ends the splitting.

    Attributes:
        num_plain: how many of the documents until now were split without regard to their structure, because that
            would have taken too long to find.
        plain: the first of these, each with the reason.
    """

    def __init__(
        self, splitting: Splitting, count_tokens: CountTokens, on_step: Callable[[], object] = lambda: None
    ) -> None:
        self._splitting = splitting
        self._count_tokens = count_tokens
        self._on_step = on_step
        self._process = SplitProcess(on_step)
        self.num_plain = 0
        self.plain: list[str] = []

    def split(self, document: Document) -> list[Part]:
        """The document's parts in order; one where all of it fits, none where there is nothing but white space.

        Raises `InputError` for a kind of text that is not known, `MissingExtraError` and `ServingError`.
        """
        check_kind(document)
        sections = sections_of(document)
        longest = max((section.heading for section in sections), key=len, default="")
        above = self._count_tokens(f"{document.title}\n{longest}\n") if document.title or longest else 0
        room = max(self._splitting.max_tokens - above, int(self._splitting.max_tokens * MAX_CONTEXT))
        return list(parts_of(document.text, self._pieces(document, room), sections))

    def _pieces(self, document: Document, room: int) -> Iterable[tuple[int, str]]:
        """Of at most `room` tokens: the first character's place of each, and the piece."""
        kind, text = document.kind, document.text
        # With one character more, `count_tokens` says that it does not fit.
        max_chars = MOST_CHARS_PER_TOKEN * (room + 1) - 1
        sizes = Sizes(room, min(self._splitting.overlap_tokens, room // 2), max_chars)

        def count_tokens(piece: str) -> int:
            self._on_step()
            # A tokenizer may take any number of letters for one unknown word: no more than fit are shared and kept.
            least = len(piece) // MOST_CHARS_PER_TOKEN
            return least if least > room else max(least, self._count_tokens(piece))

        if count_tokens(text) <= room:
            return [(0, text)]
        require(kind)
        if kind == PLAIN_TEXT and len(text) <= MAX_CHARS_HERE:
            return counted_pieces(kind, text, sizes, lambda texts: list(map(count_tokens, texts)))
        try:
            pieces = self._process.pieces(kind, text, sizes, count_tokens)
        except TooComplexError as error:
            self.num_plain += 1
            if len(self.plain) < MOST_NAMED:
                self.plain.append(f"{named(document)}, since {error}")
            return plain_pieces(text, *sizes, count_tokens)
        if kind in (PLAIN_TEXT, MARKDOWN):
            return pieces
        return with_what_follows(text, pieces, room, sizes.overlap_tokens, count_tokens)

    def close(self) -> None:
        self._process.close()

    def __enter__(self) -> Splitter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Section(NamedTuple):
    """Of a Markdown text: where it begins, and the headings that it stands under."""

    start: int
    heading: str


def sections_of(document: Document) -> list[Section]:
    """None of other kinds of text."""
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    for start, level, title in headings(document.text) if document.kind == MARKDOWN else ():
        path = [(above, name) for above, name in path if above < level] + [(level, title)]
        # The document's own title is said already.
        sections.append(Section(start, " > ".join(name for _, name in path if name != document.title)))
    return sections


def parts_of(text: str, pieces: Iterable[tuple[int, str]], sections: Sequence[Section]) -> Iterator[Part]:
    starts = [section.start for section in sections]
    line, counted_to = 1, 0
    for start, piece in pieces:
        trimmed = piece.strip()
        if not trimmed:
            continue
        place = start + len(piece) - len(piece.lstrip())
        line, counted_to = line + text.count("\n", counted_to, place), place
        found = bisect.bisect_right(starts, place) - 1
        yield Part(trimmed, place, line, sections[found].heading if found >= 0 else "")
