"""A document: what is added to an index, as a whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from farthing.core.errors import InvalidTextError
from farthing.toolkit.documents.values import said, words_of

Value = str | int | float | bool
# Of a field of metadata: one, or several such as tags.
FieldValue = Value | Sequence[Value]

PLAIN_TEXT, MARKDOWN = "text", "markdown"


@dataclass(frozen=True)
class Document:
    """
    Attributes:
        id: names it in an index: what is added under the same id takes its place.
        text: all of it.
        title: shown with its passages, and embedded before each of them.
        source: where it came from, for readers: a file, and a line or row of it where it has several documents.
        is_file: its text is all of the file that `source` names.
        kind: what its text is, which decides where it may be split: "text", "markdown", or a programming language.
        metadata: further fields, which a search can ask for: plain values, and lists of them.

    What is None is as if it were left out, and so is an empty list; a whole number as an id is its decimal text.
    """

    id: str
    text: str
    title: str = ""
    source: str = ""
    is_file: bool = False
    kind: str = PLAIN_TEXT
    metadata: Mapping[str, FieldValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("id", "title", "source"):
            object.__setattr__(self, name, words_of(getattr(self, name)))
        object.__setattr__(self, "kind", PLAIN_TEXT if self.kind is None else words_of(self.kind))
        object.__setattr__(self, "metadata", said(self.metadata or {}))

    def digest(self, *more: object) -> str:
        """Thirty-two hexadecimal digits that differ when the document, or `more`, differs.

        Raises `InvalidTextError` for half of a surrogate pair, which no store could keep.
        """
        content = json.dumps([asdict(self), *more], sort_keys=True, ensure_ascii=False)
        try:
            return hashlib.sha256(content.encode()).hexdigest()[:32]
        except UnicodeEncodeError as error:
            raise InvalidTextError(
                f"{self.source or self.id!r} is not valid Unicode: it has half of a surrogate pair, "
                f"{content[error.start]!r}."
            ) from error
