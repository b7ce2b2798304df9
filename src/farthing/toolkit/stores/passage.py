"""A passage of a document, which is embedded, found and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from farthing.core.deferred import dataclass
from farthing.toolkit.documents.document import FieldValue


@dataclass(frozen=True)
class Passage:
    """
    Attributes:
        id: different from that of any other passage of the index.
        document: the id of the passage's document.
        digest: stands for all that the document's passages are made from; a document with the same one is not embedded
            again.
        text: as it stands in the document.
        title: the document's title.
        source: where the document came from: a file, and the line or row in it where the file has several documents.
        heading: the heading of the section in which the passage stands, where the document has any.
        start, end: the passage's place in the document's text, in characters.
        metadata: further fields of the document, which a search can ask for.
    """

    id: str
    document: str
    digest: str
    text: str
    title: str = ""
    source: str = ""
    heading: str = ""
    start: int = 0
    end: int = 0
    metadata: Mapping[str, FieldValue] = field(default_factory=dict)
