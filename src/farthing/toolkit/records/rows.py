"""Consecutive rows of the input, as every reader hands them out and every writer takes them.

A row is a text and the record it came in. Records of line formats are JSON objects kept as text, so that JSON Lines
come out as they went in; records of Parquet stay Arrow tables, so that no column loses its type.
"""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from farthing.core.errors import InputError


class Rows(Protocol):
    """Consecutive rows of the input."""

    @property
    def texts(self) -> Sequence[str]: ...

    def place(self, index: int) -> str:
        """Where row `index` of these stands, for messages: "Line 3 of texts.jsonl"."""
        ...

    def identities(self) -> list[bytes]:
        """What a row must have kept to count as unchanged when a job goes on."""
        ...

    def json_objects(self) -> list[str]:
        """Each record as a JSON object on one line."""
        ...

    def table(self) -> Any:
        """The records as a `pyarrow.Table`. Raises `InputError` when their values do not fit into columns."""
        ...


class Record(NamedTuple):
    """One row of a line format: the 1-based line it starts at, its text, and the record as a JSON object."""

    line: int
    text: str
    json_object: str


@dataclass(frozen=True)
class RecordRows:
    """Rows of a line format. `source` names the input in messages."""

    source: str
    records: Sequence[Record]

    @property
    def texts(self) -> Sequence[str]:
        return [record.text for record in self.records]

    def place(self, index: int) -> str:
        return f"Line {self.records[index].line} of {self.source}"

    def identities(self) -> list[bytes]:
        return [record.json_object.encode() for record in self.records]

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
    """Rows of a Parquet file; `numbers` are theirs in the file, from 1."""

    source: str
    numbers: Sequence[int]
    field: str
    records: Any  # pyarrow.Table

    @property
    def texts(self) -> Sequence[str]:
        texts: list[str] = self.records.column(self.field).to_pylist()
        return texts

    def place(self, index: int) -> str:
        return f"Row {self.numbers[index]} of {self.source}"

    def identities(self) -> list[bytes]:
        return [text.encode() for text in self.texts]

    def json_objects(self) -> list[str]:
        try:
            return [json.dumps(item, ensure_ascii=False, default=plain_value) for item in self.records.to_pylist()]
        except TypeError as error:
            raise InputError(f"{self.source}: {error}. Write Parquet instead (-o NAME.parquet).") from error

    def table(self) -> Any:
        return self.records


def plain_value(value: object) -> str:
    """A value that JSON has no type for, as text. Raises `TypeError` for those without a common spelling."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} has no place in JSON")
