"""Opens the input: a file of texts, or standard input."""

from __future__ import annotations

import io
import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Protocol

from farthing.core.errors import InputError, SettingsError
from farthing.toolkit.records.encoding import HEAD_BYTES, Recoded, encoding_of
from farthing.toolkit.records.lines import Lines
from farthing.toolkit.records.read_lines import LINE_PARSERS, Wanted, empty
from farthing.toolkit.records.read_parquet import ParquetReader
from farthing.toolkit.records.rows import Record, RecordRows, Rows
from farthing.toolkit.records.skipped import Skipped

STANDARD_INPUT = "-"
STRICT = Skipped(strict=True)  # holds nothing
INPUT_FORMATS = ("txt", "jsonl", "csv", "parquet")


class Reader(Protocol):
    """Hands out the rows of the input in order. `field` names the field that is embedded."""

    field: str

    def take(self, count: int) -> Rows | None:
        """The next `count` rows, fewer only at the end, None after it. Raises `InputError` for a bad row."""
        ...

    def estimate_rows(self) -> int | None:
        """About how many rows the whole input has, where that can be told."""
        ...

    def close(self) -> None: ...


class LineReader:
    """Rows of a line format; `num_bytes` is the size of the whole input where it is known."""

    def __init__(
        self, lines: Lines, field: str, records: Iterator[Record], num_bytes: int | None, skipped: Skipped
    ) -> None:
        self.lines, self.skipped = lines, skipped
        self.field = field
        self.records = records
        self.num_bytes = num_bytes
        self.num_taken = 0

    def take(self, count: int) -> Rows | None:
        records: list[Record] = []
        while len(records) < count:
            try:
                record = next(self.records, None)
            except InputError as error:
                self.skipped.add(error)
                continue
            if record is None:
                break
            records.append(record)
        self.num_taken += len(records)
        return RecordRows(self.lines.source, records) if records else None

    def estimate_rows(self) -> int | None:
        if self.num_bytes is None or not self.lines.num_bytes:
            return None
        return round(self.num_taken * self.num_bytes / self.lines.num_bytes)

    def close(self) -> None:
        self.lines.stream.close()


def open_reader(name: str, given_format: str | None, wanted: Wanted, skipped: Skipped = STRICT) -> Reader:
    """Open the input and look at its first row, so that a wrong file is known before a model is loaded.

    Args:
        skipped: is told of rows that cannot be read; by default the first of them is an error.

    Raises:
        SettingsError: the format cannot be told.
        InputError: no such file, no such field, or a first row that is not what the format asks for.
        EmptyInputError: no rows.
        MissingExtraError: Parquet without pyarrow.
    """
    if name != STANDARD_INPUT and (Path(name).is_dir() or not Path(name).exists()):
        what = "is a folder" if Path(name).is_dir() else "does not exist"
        raise InputError(f"The input {name} {what}; give a file, or - for standard input.", param="input")
    input_format = format_of(name, given_format)
    if input_format == "parquet":
        if is_stream(name):
            raise SettingsError("Parquet cannot be read from standard input or a pipe; give a file.", param="input")
        return ParquetReader(Path(name), wanted, skipped)
    if name == STANDARD_INPUT:
        return open_lines(lines_of(sys.stdin.buffer, "standard input"), input_format, wanted, None, skipped)
    with ExitStack() as on_failure:
        stream = on_failure.enter_context(Path(name).open("rb"))
        num_bytes = None if is_stream(name) else os.fstat(stream.fileno()).st_size
        reader = open_lines(lines_of(stream, Path(name).name), input_format, wanted, num_bytes, skipped)
        on_failure.pop_all()
    return reader


def lines_of(stream: BinaryIO, source: str) -> Lines:
    """In UTF-8. Raises `InputError` for what is no text."""
    head = stream.peek(HEAD_BYTES) if isinstance(stream, io.BufferedReader) else b""
    encoding = encoding_of(head, source)
    return Lines(stream if encoding is None else Recoded(stream, encoding, source), source)


def open_lines(lines: Lines, input_format: str, wanted: Wanted, num_bytes: int | None, skipped: Skipped) -> LineReader:
    field, records = LINE_PARSERS[input_format](lines, wanted, skipped)
    first = None
    while first is None:
        try:
            first = next(records)
        except StopIteration:
            raise empty(lines) from None
        except InputError as error:
            skipped.add(error)
    return LineReader(lines, field, itertools.chain([first], records), num_bytes, skipped)


def is_stream(name: str) -> bool:
    """Whether it is read once, from its beginning to its end: standard input, a pipe, a device."""
    return name == STANDARD_INPUT or not Path(name).is_file()


def format_of(name: str, given: str | None) -> str:
    """The input's format: as given, or by its suffix; standard input and the like have plain text."""
    if given:
        return given
    if is_stream(name) and (name == STANDARD_INPUT or Path(name).exists()):
        return "txt"
    suffix = Path(name).suffix.lower().removeprefix(".")
    if suffix not in INPUT_FORMATS:
        raise SettingsError(
            f"The format of {name} cannot be told from its suffix. Give --input-format: {', '.join(INPUT_FORMATS)}.",
            param="input_format",
        )
    return suffix
