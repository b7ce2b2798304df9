"""A passage of a document: what is embedded, found and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from farthing.toolkit.documents.document import FieldValue


@dataclass(frozen=True)
class Passage:
    """
    Attributes:
        id: unlike any other passage's of the index.
        document: id of the document it is of.
        digest: of all that the document's passages are made from; a document with the same one is not embedded again.
        text: as it stands in the document.
        title: of the document.
        source: where the document came from: a file, and a line or row of it where it has several documents.
        heading: of the section that it stands in, where the document has any.
        start, end: characters of the document's text.
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
