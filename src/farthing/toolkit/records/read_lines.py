"""Parsers of the line formats: plain text, JSON Lines, CSV and its kin.

In: `Lines` and the field asked for. Out: the field to embed and an iterator of records. A line that does not fit its
format is an `InputError` among the records, with the line number; the lines after it are read all the same.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from farthing.core.errors import EmptyInputError, InputError, SettingsError
from farthing.toolkit.records.fields import DEFAULT_FIELD, choose_field, require_field, require_free, require_text
from farthing.toolkit.records.lines import MAX_LINE_BYTES, Lines, require_utf8, without_end
from farthing.toolkit.records.rows import Record

LARGEST_CELL_CHARS = MAX_LINE_BYTES
# A quote that is not closed within so many lines was not meant to open a cell.
MAX_ROW_LINES = 10_000
# A file with no good line among its first ones has another format, or no such field.
MOST_TRIED = 1_000
# What may stand between columns of CSV, the usual one first, each with the words for several of it and for one.
SEPARATORS = {",": ("commas", "a comma"), ";": ("semicolons", "a semicolon"), "\t": ("tabs", "a tab")}

T = TypeVar("T")
U = TypeVar("U")


class Wanted(NamedTuple):
    """The field asked for, if any, and the field name that the output needs for itself, if any."""

    field: str | None
    reserved: str | None


Parsed = tuple[str, Iterator[Record | InputError]]
Parser = Callable[[Lines, Wanted], Parsed]


def tried(items: Iterator[T], read: Callable[[T], U]) -> Iterator[U | InputError]:
    """What each item is read as, or the error of reading it or of getting it: `items` goes on after errors."""
    while True:
        found: U | InputError
        try:
            found = read(next(items))
        except StopIteration:
            return
        except InputError as error:
            found = error
        yield found


def parse_txt(lines: Lines, wanted: Wanted) -> Parsed:
    """Parse a text from each line; an empty line is an empty text."""
    if wanted.field not in (None, DEFAULT_FIELD):
        raise SettingsError(
            f"--field {wanted.field} was given, but plain text has no fields. If the input is not plain text, "
            "name its format with --input-format.",
            param="field",
        )
    lines.takes_guess = True
    return DEFAULT_FIELD, tried(lines, lambda line: text_record(lines.number, without_end(line)))


def text_record(line: int, text: str) -> Record:
    return Record(line, text, json.dumps({DEFAULT_FIELD: text}, ensure_ascii=False))


class JsonLine(NamedTuple):
    """A JSON object as it stands in the input, on one line, and its fields."""

    number: int
    place: str
    content: str
    fields: dict[str, object]


def parse_jsonl(lines: Lines, wanted: Wanted) -> Parsed:
    """Parse a JSON object from each line, which may have any further fields; blank lines are skipped. JSON is UTF-8 by
    definition, so no other encoding is guessed."""
    filled = filter(None, map(str.strip, lines))
    found = tried(filled, lambda content: json_line(content, lines))
    head, field = until_chosen(found, wanted, lines)
    records = (record_of(item, field, wanted) for item in itertools.chain(head, found))
    return field, records


def json_line(content: str, lines: Lines) -> JsonLine:
    odd: list[str] = []
    fields = json_object(content, lines, odd.append)
    if odd:  # NaN and the like, which Python writes and reads and JSON does not have
        content = json.dumps(fields, ensure_ascii=False)
    return JsonLine(lines.number, lines.place, content, fields)


def until_chosen(
    found: Iterator[JsonLine | InputError], wanted: Wanted, lines: Lines
) -> tuple[list[JsonLine | InputError], str]:
    """The first lines up to one that has the field to embed, and that field.

    Raises the first error when none of the first `MOST_TRIED` lines has the field: then the input has another format,
    or the field has another name.
    """
    head: list[JsonLine | InputError] = []
    errors: list[InputError] = []
    for item in itertools.islice(found, MOST_TRIED):
        head.append(item)
        try:
            if isinstance(item, InputError):
                raise item
            field = choose_field(item.fields, wanted.field, item.place)
            require_free(item.fields, wanted.reserved, item.place)
        except InputError as error:
            errors.append(error)
        else:
            return head, field
    raise errors[0] if errors else empty(lines)


def record_of(item: JsonLine | InputError, field: str, wanted: Wanted) -> Record | InputError:
    if isinstance(item, InputError):
        return item
    try:
        require_field(item.fields, field, item.place)
        require_free(item.fields, wanted.reserved, item.place)
        return Record(item.number, require_text(item.fields[field], field, item.place), item.content)
    except InputError as error:
        return error


def json_object(content: str, lines: Lines, on_constant: Callable[[str], object] = lambda _: None) -> dict[str, object]:
    """The JSON object in a line. Raises `InputError`. What is not JSON though Python reads it (NaN, Infinity) is null;
    `on_constant` is told."""
    try:
        value = json.loads(content, parse_constant=lambda name: on_constant(name))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{lines.place} is not valid JSON: {error.msg.removesuffix(' at')} at character {error.colno}.",
            param="input",
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of brackets
        raise InputError(f"{lines.place} cannot be read as JSON: {error}.", param="input") from error
    if not isinstance(value, dict):
        raise InputError(
            f'{lines.place} is {content[:40]!r}, not a JSON object such as {{"text": "..."}}.', param="input"
        )
    return value


def parse_tsv(lines: Lines, wanted: Wanted) -> Parsed:
    return parse_csv(lines, wanted, separator="\t")


def parse_csv(lines: Lines, wanted: Wanted, separator: str | None = None) -> Parsed:
    """Parse values under a header line; a quoted cell may hold separators and line ends.

    Args:
        separator: what stands between the columns; None to go by the header line.
    """
    csv.field_size_limit(LARGEST_CELL_CHARS)
    lines.keeps_bytes = lines.takes_guess = True
    numbered = CsvRows(lines, separator)
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
                f"{', '.join(header)}. Quote cells that hold {SEPARATORS[lines.layout.separator][1]}.",
                param="input",
            )
        fields = dict(zip(header, cells, strict=True))
        json_object = json.dumps(fields, ensure_ascii=False)
        require_utf8(json_object, f"Line {line} of {lines.source}", lines)
        return Record(line, fields[field], json_object)

    return field, tried(numbered, record)


class CsvRows:
    """Iterates over (line it starts at, cells) of each row that is not blank. After an error, iteration goes on with
    the line after the one at which the bad row begins. Sets the separator of the lines' layout."""

    def __init__(self, lines: Lines, separator: str | None) -> None:
        self._lines = lines
        self._again: deque[str] = deque()  # lines to be read again: those of a bad row, and the header's
        self._row: list[str] = []  # lines of the current row
        self._number = 0
        found = separator or self._separator_of_header()
        lines.layout = lines.layout._replace(separator=found)
        if separator is None and found != ",":
            lines.on_remark(f"The columns of {lines.source} are separated by {SEPARATORS[found][0]}, not by commas.")
        self._reader = self._new_reader()

    def _new_reader(self) -> Iterator[list[str]]:
        # strict: otherwise an open quote would silently swallow the rest of the file.
        return csv.reader(iter(self._line, None), strict=True, delimiter=self._lines.layout.separator)

    def _separator_of_header(self) -> str:
        """The separator of the header, which is the first line that is not blank."""
        for line in self._lines:
            self._again.append(line)
            if line.strip():
                return separator_of(line)
        return ","

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        return self

    def __next__(self) -> tuple[int, list[str]]:
        """The next row. Raises `InputError` for a bad row."""
        while True:
            start, self._row = self._number + 1, []
            try:
                cells = next(self._reader)
            except InputError:  # a line cannot be read
                self._take_back()
                raise
            except csv.Error as error:
                self._take_back()
                raise InputError(
                    f"Line {start} of {self._lines.source} is not valid CSV: {error}. Quote a cell that holds a "
                    "line end or a quote, and double the quotes in it.",
                    param="input",
                ) from error
            if cells:
                return start, cells

    def _line(self) -> str | None:
        if len(self._row) == MAX_ROW_LINES:
            raise csv.Error(f"a quote is not closed within {MAX_ROW_LINES:,} lines")
        line = self._again.popleft() if self._again else next(self._lines, None)
        if line is not None:
            self._row.append(line)
            self._number += 1
        return line

    def _take_back(self) -> None:
        """Put back all lines of this row but its first."""
        self._again.extendleft(reversed(self._row[1:]))
        self._number -= len(self._row[1:])
        self._reader = self._new_reader()


def check_header(header: list[str], lines: Lines) -> None:
    counts = Counter(header)
    doubled = next((name for name in header if counts[name] > 1), None)
    if doubled is not None:
        raise InputError(f"{lines.place}: the column {doubled!r} appears twice.", param="input")


def separator_of(header: str) -> str:
    """The separator that makes the most columns of this line; a comma where none makes any."""
    outside = header.split('"')[::2]  # outside of quotes
    return max(SEPARATORS, key=lambda mark: sum(part.count(mark) for part in outside))


def empty(lines: Lines) -> EmptyInputError:
    return EmptyInputError(f"{lines.source} is empty: it has no texts.", param="input")


LINE_PARSERS: dict[str, Parser] = {"txt": parse_txt, "jsonl": parse_jsonl, "csv": parse_csv, "tsv": parse_tsv}
