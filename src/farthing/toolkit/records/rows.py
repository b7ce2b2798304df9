"""Consecutive rows of the input, as every reader hands them out and every writer takes them.

A row is a text and the record it came in. Records of line formats are JSON objects kept as text, so that JSON Lines
come out as they went in; records of Parquet stay Arrow tables, so that no column loses its type. A row that cannot be
read keeps its place among the others, with the error in the place of its text. The code that takes the rows decides
whether that ends the job.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple, Protocol

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError


class Rows(Protocol):
    """Rows of the input, in its order. Records are asked for only where `errors` has no error."""

    @property
    def texts(self) -> Sequence[str]:
        """The texts of the rows; empty for a row that could not be read."""
        ...

    @property
    def errors(self) -> Mapping[int, InputError]:
        """The errors of the rows that could not be read, by their index; each names the place."""
        ...

    def __len__(self) -> int: ...

    def chosen(self, indices: Sequence[int]) -> Rows:
        """The rows at `indices`, all of which could be read."""
        ...

    def place(self, index: int) -> str:
        """The place of row `index` of these, for messages: "Line 3 of texts.jsonl"."""
        ...

    def identities(self) -> list[bytes]:
        """What must stay the same in each row for it to count as unchanged when a job goes on."""
        ...

    def names(self) -> Iterator[Collection[str]]:
        """The field names of each record."""
        ...

    def objects(self) -> Iterator[dict[str, Any]]:
        """Each record as a dict. Values that JSON has no type for are texts, except bytes, which stay bytes."""
        ...

    def json_objects(self) -> list[str]:
        """Each record as a JSON object on one line. Raises `InputError` for a value that JSON has no place for."""
        ...

    def table(self) -> Any:
        """The records as a `pyarrow.Table`. Raises `InputError` when their values do not fit into columns."""
        ...


class Record(NamedTuple):
    """One row of a line format: the 1-based line it starts at, its text, and the record as a JSON object."""

    line: int
    text: str
    json_object: str


UNREAD = Record(0, "", "{}")


@dataclass(frozen=True)
class RecordRows:
    """Rows of a line format. `source` names the input in messages; rows with `errors` are `UNREAD`."""

    source: str
    records: Sequence[Record]
    errors: Mapping[int, InputError] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    def chosen(self, indices: Sequence[int]) -> Rows:
        return RecordRows(self.source, [self.records[index] for index in indices])

    @property
    def texts(self) -> Sequence[str]:
        return [record.text for record in self.records]

    def place(self, index: int) -> str:
        return f"Line {self.records[index].line} of {self.source}"

    def identities(self) -> list[bytes]:
        found = [record.json_object.encode() for record in self.records]
        return with_errors(found, self.errors)

    def names(self) -> Iterator[Collection[str]]:
        return map(dict.keys, self.objects())

    def objects(self) -> Iterator[dict[str, Any]]:
        return (json.loads(record.json_object) for record in self.records)

    def json_objects(self) -> list[str]:
        return [record.json_object for record in self.records]

    def table(self) -> Any:
        import pyarrow

        objects = [json.loads(record.json_object) for record in self.records]
        names = dict.fromkeys(name for item in objects for name in item)
        columns = {}
        for name in names:
            try:
                columns[name] = pyarrow.array([item.get(name) for item in objects])
            except (pyarrow.ArrowException, OverflowError, UnicodeError) as error:
                raise InputError(
                    f"The field {name!r} of lines {self.records[0].line} to {self.records[-1].line} of {self.source} "
                    f"does not fit into one Parquet column: {error}. Write JSON Lines instead (-o NAME.jsonl)."
                ) from error
        return pyarrow.table(columns)


@dataclass(frozen=True)
class ArrowRows:
    """Rows of a Parquet file; `numbers` are their numbers in the file, from 1."""

    source: str
    numbers: Sequence[int]
    texts: Sequence[str]
    records: Any  # pyarrow.Table
    errors: Mapping[int, InputError] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def chosen(self, indices: Sequence[int]) -> Rows:
        numbers, texts = ([items[index] for index in indices] for items in (self.numbers, self.texts))
        return ArrowRows(self.source, numbers, texts, self.records.take(list(indices)))  # type: ignore[arg-type]

    def place(self, index: int) -> str:
        return f"Row {self.numbers[index]} of {self.source}"

    def identities(self) -> list[bytes]:
        return with_errors([text.encode() for text in self.texts], self.errors)

    def names(self) -> Iterator[Collection[str]]:
        return itertools.repeat(self.records.column_names, len(self))

    def objects(self) -> Iterator[dict[str, Any]]:
        return map(plain_value, self.records.to_pylist())

    def json_objects(self) -> list[str]:
        try:
            return [json.dumps(item, ensure_ascii=False) for item in self.objects()]
        except TypeError as error:
            raise InputError(
                f"{self.source} has values that JSON has no place for: {error}. Write Parquet instead."
            ) from error

    def table(self) -> Any:
        return self.records


def readable(rows: Rows) -> list[int]:
    """The indices of the rows that could be read."""
    return [index for index in range(len(rows)) if index not in rows.errors]


def with_errors(identities: list[bytes], errors: Mapping[int, InputError]) -> list[bytes]:
    for index in errors:
        identities[index] = b"not read"
    return identities


def plain_value(value: Any) -> Any:
    """A value as JSON takes it: dates, times and decimals become texts, NaN and infinity become null. Bytes stay
    bytes."""
    if isinstance(value, dict):
        return {name: plain_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (datetime.timedelta, decimal.Decimal)):
        return str(value)
    return value
