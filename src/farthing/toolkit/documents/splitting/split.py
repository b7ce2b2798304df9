"""Splits a document into parts that a model can embed: at its structure, by tokens, with an overlap.

In: a document, and a function that counts tokens. Out: parts with their places in the document. Markdown is split at
headings and blocks, code at the units of its grammar, other text at paragraphs and sentences. Where the structure takes
too long to find, or nests too deep, any text is cut between lines, sentences or words.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from farthing.core.deferred import dataclass
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
# The share of a part's tokens that may stand in the part before it too.
OVERLAP = 0.125
# Tokens that a model's prompt and its special tokens may take.
ADDED_TOKENS = 8
# A text with more characters per token is taken to have more tokens than the tokenizer says. That spares counting whole
# books, and bounds parts.
MOST_CHARS_PER_TOKEN = 32
# Plain text of at most so many characters is split in this process: that takes some 50 ms at worst, and a process of
# its own takes longer.
MAX_CHARS_HERE = 20_000
MOST_NAMED = 10
# A title and headings longer than this share of a part are no help to it.
MAX_CONTEXT = 0.5


class Part(NamedTuple):
    """
    Attributes:
        start: the place of the part's first character in the document's text.
        line: the line in which that character is, from 1.
        heading: the heading of the section in which the part begins, with those above it: "Install > On Windows".
    """

    text: str
    start: int
    line: int
    heading: str


@dataclass(frozen=True)
class Splitting:
    """How long the parts of a document may be, title and heading included, and how much they share.

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
    """The sizes that were asked for, or else those that suit search in a model of this context length, which is 0 where
    it is not known.

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
    """Splits documents. One thread at a time may use it, and it must be closed.

    Args:
        on_step: called often while a document is split; an error that it raises ends the splitting.

    Attributes:
        num_plain: how many of the documents so far were split without regard to their structure, because it would have
            taken too long to find.
        plain: the first of these documents, each with the reason.
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
        """The document's parts in order: a single part where the whole text fits, none where the text is only white
        space.

        Raises `InputError` for a kind of text that is not known, `MissingExtraError` and `ServingError`.
        """
        check_kind(document)
        sections = sections_of(document)
        longest = max((section.heading for section in sections), key=len, default="")
        above = self._count_tokens(f"{document.title}\n{longest}\n") if document.title or longest else 0
        room = max(self._splitting.max_tokens - above, int(self._splitting.max_tokens * MAX_CONTEXT))
        return list(parts_of(document.text, self._pieces(document, room), sections))

    def _pieces(self, document: Document, room: int) -> Iterable[tuple[int, str]]:
        """The pieces of at most `room` tokens, each with the place of its first character."""
        kind, text = document.kind, document.text
        # A piece with one character more is one that `count_tokens` says does not fit.
        max_chars = MOST_CHARS_PER_TOKEN * (room + 1) - 1
        sizes = Sizes(room, min(self._splitting.overlap_tokens, room // 2), max_chars)

        def count_tokens(piece: str) -> int:
            self._on_step()
            # A tokenizer may take any number of letters for one unknown word. The least number keeps such pieces from
            # holding and sharing more than fits.
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
    """A section of a Markdown text: where it begins, and the headings that it stands under."""

    start: int
    heading: str


def sections_of(document: Document) -> list[Section]:
    """The sections of a Markdown document; a document of another kind has none."""
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    for start, level, title in headings(document.text) if document.kind == MARKDOWN else ():
        path = [(above, name) for above, name in path if above < level] + [(level, title)]
        # The document's own title stands above its parts already.
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
