"""Reads rows of a Parquet file, a batch of a row group at a time. Needs pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from farthing.core.errors import EmptyInputError, InputError, MissingExtraError
from farthing.toolkit.records.fields import choose_field, require_free, require_text
from farthing.toolkit.records.lines import USUAL_LAYOUT
from farthing.toolkit.records.read_lines import Wanted
from farthing.toolkit.records.rows import ArrowRows, Rows

# How many rows are decoded at once; those that a chunk does not take wait in memory.
BATCH_ROWS = 1024


class ParquetReader:
    """Hands out the rows of one file in order. `source` names it in messages, `field` is the column that is embedded.

    Raises:
        MissingExtraError: pyarrow is not installed.
        InputError: the file is not a Parquet file, or has no such column, or one that does not hold strings.
        EmptyInputError: it has no rows.
    """

    layout = USUAL_LAYOUT  # Parquet has no layout that is lost when it is written anew

    def __init__(self, path: Path, source: str, wanted: Wanted) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError("Reading Parquet", "parquet") from error
        self.source = source
        try:
            self.file = parquet.ParquetFile(path)
        except pyarrow.ArrowException as error:
            raise InputError(f"{path} is not a Parquet file: {error}", param="input") from error
        self.num_rows: int = self.file.metadata.num_rows
        self.num_taken = 0
        schema = self.file.schema_arrow
        self.field = choose_field(schema.names, wanted.field, self.source)
        require_free(schema.names, wanted.reserved, self.source)
        check_is_string(schema.field(self.field).type, self.field, self.source)
        if not self.num_rows:
            raise EmptyInputError(f"{self.source} has no rows: it has no texts.", param="input")
        self.batches = self.file.iter_batches(batch_size=BATCH_ROWS)
        self.rest = schema.empty_table()

    def take(self, count: int) -> Rows | None:
        import pyarrow

        while len(self.rest) < count and (batch := next(self.batches, None)) is not None:
            self.rest = pyarrow.concat_tables([self.rest, pyarrow.Table.from_batches([batch])])
        records, self.rest = self.rest.slice(0, count), self.rest.slice(count)
        if not len(records):
            return None
        numbers = range(self.num_taken + 1, self.num_taken + 1 + len(records))
        self.num_taken += len(records)
        texts, errors = [], {}
        for index, value in enumerate(records.column(self.field)):
            try:
                texts.append(self._text(value, f"Row {numbers[index]} of {self.source}"))
            except InputError as error:
                texts.append("")
                errors[index] = error
        return ArrowRows(self.source, numbers, texts, records, errors)

    def _text(self, value: Any, place: str) -> str:
        try:
            found = value.as_py()
        except UnicodeDecodeError as error:
            raise InputError(f"{place} is not UTF-8: {error.reason}.", param="input") from error
        return require_text(found, self.field, place)

    def estimate_rows(self) -> int | None:
        return self.num_rows

    def close(self) -> None:
        self.file.close()


def check_is_string(kind: Any, field: str, source: str) -> None:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)):
        raise InputError(f"The column {field!r} of {source} is of type {kind}; texts are strings.", param="field")
