"""Opens the input: a file of texts, or standard input."""

from __future__ import annotations

import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from farthing.core.errors import InputError, SettingsError
from farthing.toolkit.records.encoding import HEAD_BYTES, Recoded, encoding_of
from farthing.toolkit.records.lines import LineLayout, Lines
from farthing.toolkit.records.packed import Unpacked, name_inside, packing_of
from farthing.toolkit.records.read_lines import LINE_PARSERS, Wanted, empty
from farthing.toolkit.records.read_parquet import ParquetReader
from farthing.toolkit.records.rows import UNREAD, Record, RecordRows, Rows

STANDARD_INPUT = "-"
INPUT_FORMATS = ("txt", "jsonl", "csv", "parquet")
# A .tsv file is CSV with tabs, whatever its header looks like; for other suffixes, the header tells.
SUFFIXES = (*INPUT_FORMATS, "tsv")

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """Hands out the rows of the input in order. `field` names the field that is embedded."""

    field: str

    @property
    def layout(self) -> LineLayout:
        """The layout of what was read so far."""
        ...

    def take(self, count: int) -> Rows | None:
        """The next `count` rows, fewer only at the end, None after it. Rows that cannot be read are among them."""
        ...

    def estimate_rows(self) -> int | None:
        """About how many rows the whole input has; None where that cannot be told."""
        ...

    def close(self) -> None: ...


class LineReader:
    """Hands out the rows of a line format; `num_bytes` is the size of the whole input where it is known."""

    def __init__(self, lines: Lines, field: str, items: Iterator[Record | InputError], num_bytes: int | None) -> None:
        self.lines = lines
        self.field = field
        self.items = items
        self.num_bytes = num_bytes
        self.num_taken = 0

    @property
    def layout(self) -> LineLayout:
        return self.lines.layout

    def take(self, count: int) -> Rows | None:
        items = list(itertools.islice(self.items, count))
        self.num_taken += len(items)
        errors = {index: item for index, item in enumerate(items) if isinstance(item, InputError)}
        records = [UNREAD if isinstance(item, InputError) else item for item in items]
        return RecordRows(self.lines.source, records, errors) if items else None

    def estimate_rows(self) -> int | None:
        if self.num_bytes is None or not self.lines.num_bytes:
            return None
        return round(self.num_taken * self.num_bytes / self.lines.num_bytes)

    def close(self) -> None:
        self.lines.stream.close()


def open_reader(
    name: str, given_format: str | None, wanted: Wanted, on_remark: Callable[[str], object] = logger.warning
) -> Reader:
    """Open the input and look at its first rows, so that a wrong file is known before a model is loaded.

    Args:
        on_remark: is told, in a sentence each, how the input is read where that is a guess, while it is read.

    Raises:
        SettingsError: the format cannot be told.
        InputError: there is no such file or no such field, or none of the first rows is what the format asks for.
        EmptyInputError: there are no rows.
        MissingExtraError: the input is Parquet and pyarrow is not installed.
    """
    if name != STANDARD_INPUT and (Path(name).is_dir() or not Path(name).exists()):
        what = "is a folder" if Path(name).is_dir() else "does not exist"
        raise InputError(f"The input {name} {what}; give a file, or - for standard input.", param="input")
    input_format = format_of(name, given_format)
    if input_format == "parquet":
        if is_stream(name):
            raise SettingsError("Parquet cannot be read from standard input or a pipe; give a file.", param="input")
        return ParquetReader(Path(name), shown_name(name), wanted)
    if name == STANDARD_INPUT:
        return open_lines(lines_of(sys.stdin.buffer, "standard input", on_remark), input_format, wanted, None)
    source = shown_name(name)
    with ExitStack() as on_failure:
        stream: Any = Unpacked(Path(name), source) if packing_of(name) else Path(name).open("rb")  # noqa: SIM115
        on_failure.enter_context(stream)
        num_bytes = None if packing_of(name) or is_stream(name) else Path(name).stat().st_size
        reader = open_lines(lines_of(stream, source, on_remark), input_format, wanted, num_bytes)
        on_failure.pop_all()
    return reader


def lines_of(stream: Any, source: str, on_remark: Callable[[str], object]) -> Lines:
    """The lines of a stream, in UTF-8. Raises `InputError` for a stream that is not text."""
    encoding = encoding_of(stream.peek(HEAD_BYTES) if hasattr(stream, "peek") else b"", source)
    return Lines(stream if encoding is None else Recoded(stream, encoding, source), source, on_remark)


def open_lines(lines: Lines, input_format: str, wanted: Wanted, num_bytes: int | None) -> LineReader:
    field, items = LINE_PARSERS[input_format](lines, wanted)
    first = next(items, None)
    if first is None:
        raise empty(lines)
    return LineReader(lines, field, itertools.chain([first], items), num_bytes)


def is_stream(name: str) -> bool:
    """Whether the input is read only once, from its beginning to its end: standard input, a pipe, a device."""
    return name == STANDARD_INPUT or not Path(name).is_file()


def format_of(name: str, given: str | None) -> str:
    """The input's format: as given, or by its suffix; standard input and the like count as plain text."""
    if given:
        return given
    if is_stream(name) and (name == STANDARD_INPUT or Path(name).exists()):
        return "txt"
    suffix = Path(name_inside(name)).suffix.lower().removeprefix(".")
    if suffix not in SUFFIXES:
        raise SettingsError(
            f"The format of {name} cannot be told from its suffix. Give --input-format: {', '.join(INPUT_FORMATS)}.",
            param="input_format",
        )
    return suffix


def shown_name(path: str) -> str:
    """The file's name; bytes of it that are not UTF-8 are shown as \\xe9."""
    return os.fsencode(Path(path).name).decode("utf-8", "backslashreplace")
