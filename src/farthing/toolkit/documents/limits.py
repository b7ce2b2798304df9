"""Checks a document before it is added: its size and that of each field, its kind, and whether it has text.

Title, source and metadata are stored with every passage, so that a large one costs a multiple of what was sent. Every
document goes through here, whether it comes from a file, a program, or a client of a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard

from farthing.core.errors import EmptyInputError, InputError
from farthing.serving.text.clean import INVISIBLE, JOINERS
from farthing.toolkit.documents.document import MARKDOWN, PLAIN_TEXT, Document, FieldValue, Value
from farthing.toolkit.documents.kinds import LANGUAGES

MAX_ID_CHARS = 1_024
MAX_TEXT_CHARS = 10_000_000
MAX_TITLE_CHARS = 1_000
MAX_SOURCE_CHARS = 4_096
MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_FIELDS = 256
MAX_FIELD_NAME_CHARS = 256
MAX_LIST_VALUES = 256  # in one field
# The least bytes that a number, or a value in a list, counts for.
LEAST_BYTES = 8
# The most characters that all passages of a document may hold together with what they repeat: for each character of its
# text, and in any case.
COPIED_PER_CHAR, COPIED_ANYWAY = 20, 64 * 1024

# White space of every script, and the characters that `farthing.serving.text.clean` leaves out of a text.
UNSEEN = "".join(filter(str.isspace, map(chr, range(0x3001)))) + INVISIBLE + JOINERS

MAX_SHOWN = 64  # characters of a document's own words that a message repeats
METADATA_IS = "metadata is text, a number, true or false, or a list of these"


def checked(document: Document) -> Document:
    """Check a document and return it.

    Raises `InputError`, whose `param` is the field, for a document that is too large, has no text, or is of an unknown
    kind.
    """
    texts = (
        ("id", document.id, MAX_ID_CHARS, "Give it a shorter one."),
        ("title", document.title, MAX_TITLE_CHARS, "Put what is longer into the text."),
        ("source", document.source, MAX_SOURCE_CHARS, "It says where a document came from; put what is longer into "
         "the text."),
        ("text", document.text, MAX_TEXT_CHARS, "Split the document, and give each part an id of its own."),
    )  # fmt: skip
    for name, value, most, remedy in texts:
        if len(value) > most:
            raise InputError(
                f"The {name} of {named(document)} has {len(value):,} characters; at most {most:,} are taken. {remedy}",
                param=name,
            )
    check_metadata(document)
    check_kind(document)
    if is_blank(document.text):
        raise EmptyInputError(f"{named(document)} has no text: nothing could be found of it.", param="text")
    return document


def check_ids(documents: Sequence[Document]) -> None:
    """Raise `InputError`, whose `param` is the place, for two documents that have the same id and are not the same."""
    first: dict[str, int] = {}
    for index, document in enumerate(documents):
        before = first.setdefault(document.id, index)
        if before != index and not are_same(documents[before], document):
            raise InputError(
                f"documents[{index}] has the id {document.id[:MAX_SHOWN]!r}, as documents[{before}] has, which is "
                "another document. Give each its own.",
                param=f"documents[{index}].id",
            )


def are_same(one: Document, other: Document) -> bool:
    """Whether an index takes two documents as equal. Python takes 1, 1.0 and true for equal; an index does not."""
    return one == other and all(types(value) == types(other.metadata[name]) for name, value in one.metadata.items())


def types(value: FieldValue) -> list[type]:
    return [type(value), *map(type, value)] if isinstance(value, list) else [type(value)]


def check_kind(document: Document) -> None:
    """Raise `InputError` for a kind of text that is not known."""
    if document.kind not in (PLAIN_TEXT, MARKDOWN, *LANGUAGES):
        raise InputError(
            f"The kind of a document is {document.kind[:MAX_SHOWN]!r}; it must be {PLAIN_TEXT}, {MARKDOWN} or one of "
            f"{', '.join(LANGUAGES)}.",
            param="kind",
        )


def is_blank(text: str) -> bool:
    """Whether nothing of the text can be seen."""
    return not text.lstrip(UNSEEN)


def check_metadata(document: Document) -> None:
    metadata = document.metadata
    if len(metadata) > MAX_METADATA_FIELDS:
        raise InputError(
            f"The metadata of {named(document)} has {len(metadata):,} fields; at most {MAX_METADATA_FIELDS} are taken. "
            "Leave out those that no search asks for.",
            param="metadata",
        )
    longest = max(metadata, key=len, default="")
    if len(longest) > MAX_FIELD_NAME_CHARS:
        raise InputError(
            f"A field of the metadata of {named(document)} has a name of {len(longest):,} characters; at most "
            f"{MAX_FIELD_NAME_CHARS} are taken. It begins with {longest[:MAX_SHOWN]!r}; give it a shorter one.",
            param="metadata",
        )
    for name, value in metadata.items():
        if (wrong := misfit(value)) is not None:
            raise InputError(
                f"The field {name[:MAX_SHOWN]!r} of the metadata of {named(document)} is {wrong}.", param="metadata"
            )
    num_bytes = metadata_bytes(metadata)
    if num_bytes > MAX_METADATA_BYTES:
        raise InputError(
            f"The metadata of {named(document)} takes {num_bytes:,} bytes; at most {MAX_METADATA_BYTES:,} are taken, "
            "since it is kept with every passage. Put long texts into the document's text.",
            param="metadata",
        )


def misfit(value: object) -> str | None:
    """What is wrong with a value that a field cannot hold, and what it can hold; None for a value that fits."""
    if is_plain(value):
        return None
    if not isinstance(value, list):
        return f"of type {type(value).__name__}; {METADATA_IS}"
    if len(value) > MAX_LIST_VALUES:
        return (
            f"a list of {len(value):,} values; at most {MAX_LIST_VALUES} are taken. Leave out those that no search "
            "asks for"
        )
    wrong = next((item for item in value if not is_plain(item)), None)
    return None if wrong is None else f"a list with a value of type {type(wrong).__name__}; {METADATA_IS}"


def is_plain(value: object) -> TypeGuard[Value]:
    """Whether a value is a text, a number, or true or false, which are whole numbers to Python."""
    return isinstance(value, (str, int, float))


def check_copies(document: Document, num_passages: int, num_chars: int) -> None:
    """Raise `InputError` when what is repeated with every passage is out of all proportion to the text.

    Args:
        num_chars: characters in the texts and headings of all passages together.
    """
    once = len(document.title) + len(document.source) + metadata_bytes(document.metadata)
    copied, most = once * (num_passages - 1) + num_chars, COPIED_PER_CHAR * len(document.text) + COPIED_ANYWAY
    if copied > most:
        raise InputError(
            f"Title, source, metadata and headings of {named(document)} are kept with each of its {num_passages:,} "
            f"passages, which are {copied:,} characters in all. For a text of {len(document.text):,} it may be "
            f"{most:,} ({COPIED_PER_CHAR} for each). Shorten them, or have longer passages (max_tokens).",
            param="metadata",
        )


def metadata_bytes(metadata: Mapping[str, FieldValue]) -> int:
    """About how many bytes the metadata takes in UTF-8."""
    return sum(utf8_bytes(name) + value_bytes(value) for name, value in metadata.items())


def value_bytes(value: FieldValue) -> int:
    if isinstance(value, str):
        return utf8_bytes(value)
    if isinstance(value, (int, float)):
        return LEAST_BYTES if isinstance(value, float) else max(LEAST_BYTES, value.bit_length() // 3)
    return sum(max(LEAST_BYTES, value_bytes(item)) for item in value)


def utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def fitting_title(title: str) -> str:
    """The title that a file gives its document, cut where it is too long, since nobody wrote it for an index."""
    return title if len(title) <= MAX_TITLE_CHARS else title[:MAX_TITLE_CHARS].rstrip()


def named(document: Document) -> str:
    """A short name of a document for messages."""
    name = document.source or document.id
    shown = name if len(name) <= MAX_SHOWN else name[:MAX_SHOWN] + "…"
    return f"document {shown!r}" if name else "a document"
