"""Reads the rows of JSON Lines, CSV (and TSV) and Parquet as documents, one for each row.

Text, title and id are fields of the record; its other plain values, and lists of them, become metadata. A row without
an id is named by its content, so that the same row is the same document wherever it stands in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import field, replace

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError
from farthing.toolkit.documents.document import Document, FieldValue
from farthing.toolkit.documents.limits import MAX_LIST_VALUES, fitting_title, is_plain
from farthing.toolkit.documents.values import said, words_of
from farthing.toolkit.records.fields import EMBEDDING_FIELD
from farthing.toolkit.records.read_lines import Wanted
from farthing.toolkit.records.reader import Reader, open_reader
from farthing.toolkit.records.rows import Rows, readable
from farthing.toolkit.records.skipped import Skipped

ROWS_AT_A_TIME = 1024
ID_FIELDS, TITLE_FIELD = ("id", "_id"), "title"

# Reasons why fields are left out, in words that follow "since they".
NOT_PLAIN = "hold neither text, number, true or false, nor a list of these"
TOO_LONG = f"are lists of more than {MAX_LIST_VALUES} values"
VECTORS = "are vectors, as `farthing embed` writes them"


@dataclass(frozen=True)
class RecordFields:
    """
    Attributes:
        text: the field that holds the text; None for "text", or the only field.
        id: the field that holds the id; None for "id" or "_id" where there is one.
        title: the field that holds the title; None for "title" where there is one.
    """

    text: str | None = None
    id: str | None = None
    title: str | None = None


@dataclass
class LeftOut:
    """What was not taken from the inputs, counted while they are read.

    Attributes:
        records: records that could not be read or used.
        fields: fields whose values have no place in metadata: by reason, how many of each name.
        files: files in folders that could not be read: by path, the reason.
        suffixes: suffixes of files in folders that are not known to be text, with the number of such files.
        guesses: encodings that were guessed, by file.
        remarks: how files of records were read where that is not as usual, a sentence each.
        indexes: folders, named or inside of named ones, that are an index, whose own files are not documents.
        links: links in folders to other folders.
        num_linked: how many links in folders lead to files that are added themselves.
    """

    records: Skipped = field(default_factory=Skipped)
    fields: dict[str, dict[str, int]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    suffixes: dict[str, int] = field(default_factory=dict)
    guesses: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    num_linked: int = 0


def read_records(
    name: str,
    given_format: str | None,
    fields: RecordFields,
    left_out: LeftOut,
    on_estimate: Callable[[int | None], object] = lambda _: None,
) -> Iterator[Document]:
    """Read the documents of a file of records.

    Args:
        on_estimate: called again and again with about how many rows there are.

    Raises what `open_reader` raises for a file that is not of this format, and, where `left_out` is strict, the error
    of a bad row.
    """
    wanted = Wanted(fields.text, reserved=None)
    with closing(open_reader(name, given_format, wanted, left_out.remarks.append)) as reader:
        while (rows := reader.take(ROWS_AT_A_TIME)) is not None:
            on_estimate(reader.estimate_rows())
            yield from documents_of(rows, reader, fields, left_out)


def check_records(name: str, given_format: str | None, fields: RecordFields) -> None:
    """Raise what `read_records` raises for a file in which no record can be read. Only the first records are read."""
    open_reader(name, given_format, Wanted(fields.text, reserved=None), on_remark=lambda _: None).close()


def documents_of(rows: Rows, reader: Reader, fields: RecordFields, left_out: LeftOut) -> Iterator[Document]:
    records = rows.chosen(readable(rows)).objects()
    for index, text in enumerate(rows.texts):
        if (error := rows.errors.get(index)) is not None:
            left_out.records.add(error)
            continue
        record, place = next(records), rows.place(index)
        id_field = fields.id or next((name for name in ID_FIELDS if name in record), None)
        title_field = fields.title or TITLE_FIELD
        missing = [name for name in (fields.id, fields.title) if name and name not in record]
        if missing:
            there = ", ".join(map(repr, record))
            left_out.records.add(InputError(f"{place} has no field {missing[0]!r}; its fields are {there}."))
            continue
        rest = {name: value for name, value in record.items() if name not in (reader.field, id_field, title_field)}
        document = Document(
            id="",
            text=text,
            title=fitting_title(words_of(record.get(title_field))),
            source=place.replace("Line ", "line ").replace("Row ", "row "),
            metadata=dict(fitting_values(rest, left_out)),
        )
        given = words_of(record.get(id_field)) if id_field else ""
        yield replace(document, id=given or content_id(document))


def content_id(document: Document) -> str:
    """An id made of what the document says, wherever it stands."""
    return replace(document, source="").digest()


def fitting_values(record: dict[str, object], left_out: LeftOut) -> Iterator[tuple[str, FieldValue]]:
    """The fields that become metadata; the others are counted."""
    for name, value in said(record).items():
        if (why := unfit(name, value)) is None:
            yield name, value
        else:
            counts = left_out.fields.setdefault(why, {})
            counts[name] = counts.get(name, 0) + 1


def unfit(name: str, value: object) -> str | None:
    """The reason why a field has no place in metadata; None for a field that has."""
    if is_plain(value):
        return None
    if not isinstance(value, list):
        return NOT_PLAIN
    if len(value) > MAX_LIST_VALUES:
        return TOO_LONG
    if not all(map(is_plain, value)):
        return NOT_PLAIN
    return VECTORS if name == EMBEDDING_FIELD and all(isinstance(item, (int, float)) for item in value) else None
