"""A document, which is added to an index as a whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field

from farthing.core.deferred import dataclass
from farthing.core.errors import InvalidTextError
from farthing.toolkit.documents.values import said, words_of

Value = str | int | float | bool
# The value of a metadata field: one value, or several, such as tags.
FieldValue = Value | Sequence[Value]

PLAIN_TEXT, MARKDOWN = "text", "markdown"


@dataclass(frozen=True)
class Document:
    """
    Attributes:
        id: names the document in an index. A document that is added under the same id takes its place.
        text: the whole text.
        title: shown with the document's passages, and embedded before each of them.
        source: where the document came from, for readers: a file, and the line or row in it where the file has several
            documents.
        is_file: whether the text is all of the file that `source` names.
        kind: what the text is, which decides where it may be split: "text", "markdown", or a programming language.
        metadata: further fields, which a search can ask for: plain values, and lists of them.

    A value of None, and an empty list, count as left out. A whole number as an id becomes its decimal text.
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
