"""Parsers of the line formats: plain text, JSON Lines, CSV.

In: `Lines` and the field asked for. Out: the field to embed and an iterator of records. Each raises `InputError`
with the line number for a line that is not what its format asks for.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from farthing.core.errors import EmptyInputError, InputError, SettingsError
from farthing.toolkit.records.fields import DEFAULT_FIELD, choose_field, require_field, require_free, require_text
from farthing.toolkit.records.lines import MAX_LINE_BYTES, Lines, without_end
from farthing.toolkit.records.rows import Record

LARGEST_CELL_CHARS = MAX_LINE_BYTES


class Wanted(NamedTuple):
    """The field asked for, if any, and the field name that the output needs for itself, if any."""

    field: str | None
    reserved: str | None


Parsed = tuple[str, Iterator[Record]]
Parser = Callable[[Lines, Wanted], Parsed]


def parse_txt(lines: Lines, wanted: Wanted) -> Parsed:
    """A text a line; an empty line is an empty text."""
    if wanted.field not in (None, DEFAULT_FIELD):
        raise SettingsError(
            f"--field {wanted.field} was given, but plain text has no fields. If the input is not plain text, "
            "name its format with --input-format.",
            param="field",
        )
    return DEFAULT_FIELD, (text_record(lines.number, without_end(line)) for line in lines)


def text_record(line: int, text: str) -> Record:
    return Record(line, text, json.dumps({DEFAULT_FIELD: text}, ensure_ascii=False))


def parse_jsonl(lines: Lines, wanted: Wanted) -> Parsed:
    """A JSON object a line, which may have any further fields; blank lines are skipped."""
    contents = (line.strip() for line in lines)
    filled = (content for content in contents if content)
    first = next(filled, None)
    if first is None:
        raise empty(lines)
    field = choose_field(json_object(first, lines), wanted.field, lines.place)

    def record(content: str) -> Record:
        fields = json_object(content, lines)
        require_field(fields, field, lines.place)
        require_free(fields, wanted.reserved, lines.place)
        return Record(lines.number, require_text(fields[field], field, lines.place), content)

    return field, map(record, itertools.chain([first], filled))


def json_object(content: str, lines: Lines) -> dict[str, object]:
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{lines.place} is not valid JSON: {error.msg} at character {error.colno}.", param="input"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of brackets
        raise InputError(f"{lines.place} cannot be read as JSON: {error}.", param="input") from error
    if not isinstance(value, dict):
        raise InputError(
            f'{lines.place} is {content[:40]!r}, not a JSON object such as {{"text": "..."}}.', param="input"
        )
    return value


def parse_csv(lines: Lines, wanted: Wanted) -> Parsed:
    """Comma-separated values under a header line; a quoted cell may hold commas and line ends."""
    csv.field_size_limit(LARGEST_CELL_CHARS)
    numbered = csv_rows(lines)
    _, header = next(numbered, (0, None))
    if header is None:
        raise empty(lines)
    check_header(header, lines)
    field = choose_field(header, wanted.field, lines.place)
    require_free(header, wanted.reserved, lines.place)

    def record(numbered_cells: tuple[int, list[str]]) -> Record:
        line, cells = numbered_cells
        if len(cells) != len(header):
            raise InputError(
                f"Line {line} of {lines.source} has {len(cells)} columns; the header has {len(header)}: "
                f"{', '.join(header)}. Quote cells that hold a comma.",
                param="input",
            )
        fields = dict(zip(header, cells, strict=True))
        return Record(line, fields[field], json.dumps(fields, ensure_ascii=False))

    return field, map(record, numbered)


def csv_rows(lines: Lines) -> Iterator[tuple[int, list[str]]]:
    """(line it starts at, cells) of each row that is not blank."""
    # strict: otherwise an open quote would silently swallow the rest of the file.
    reader = csv.reader(lines, strict=True)
    while True:
        start = lines.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"Line {start} of {lines.source} is not valid CSV: {error}. Quote a cell that holds a "
                "line end or a quote, and double the quotes in it.",
                param="input",
            ) from error
        if cells is None:
            return
        if cells:
            yield start, cells


def check_header(header: list[str], lines: Lines) -> None:
    counts = Counter(header)
    doubled = next((name for name in header if counts[name] > 1), None)
    if doubled is not None:
        raise InputError(f"{lines.place}: the column {doubled!r} appears twice.", param="input")
    separator = next((mark for mark in ";\t" if mark in header[0]), None)
    if len(header) == 1 and separator:
        raise InputError(
            f"{lines.place} is separated by {separator!r}; columns must be separated by commas.", param="input"
        )


def empty(lines: Lines) -> EmptyInputError:
    return EmptyInputError(f"{lines.source} is empty: there is nothing to embed.", param="input")


LINE_PARSERS: dict[str, Parser] = {"txt": parse_txt, "jsonl": parse_jsonl, "csv": parse_csv}
