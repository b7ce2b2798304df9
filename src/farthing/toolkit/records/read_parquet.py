"""Reads rows of a Parquet file, a batch of a row group at a time. Needs pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from farthing.core.errors import EmptyInputError, InputError, MissingExtraError
from farthing.toolkit.records.fields import choose_field, require_free, require_text
from farthing.toolkit.records.read_lines import Wanted
from farthing.toolkit.records.rows import ArrowRows, Rows
from farthing.toolkit.records.skipped import Skipped

# Rows decoded at once; what a chunk does not take waits in memory.
BATCH_ROWS = 1024


class ParquetReader:
    """Hands out the rows of one file in order. `field` is the column that is embedded.

    Raises:
        MissingExtraError: pyarrow is not installed.
        InputError: not a Parquet file, no such column, or one that does not hold strings.
        EmptyInputError: no rows.
    """

    def __init__(self, path: Path, wanted: Wanted, skipped: Skipped) -> None:
        self.skipped = skipped
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError("Reading Parquet", "parquet") from error
        self.source = path.name
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
            raise EmptyInputError(f"{self.source} has no rows: there is nothing to embed.", param="input")
        self.batches = self.file.iter_batches(batch_size=BATCH_ROWS)
        self.rest = schema.empty_table()

    def take(self, count: int) -> Rows | None:
        while (rows := self._next(count)) is not None:
            good = [index for index in range(len(rows.numbers)) if self._is_good(rows, index)]
            if len(good) == len(rows.numbers):
                return rows
            if good:
                return ArrowRows(
                    self.source, [rows.numbers[index] for index in good], self.field, rows.records.take(good)
                )
        return None

    def _next(self, count: int) -> ArrowRows | None:
        import pyarrow

        while len(self.rest) < count and (batch := next(self.batches, None)) is not None:
            self.rest = pyarrow.concat_tables([self.rest, pyarrow.Table.from_batches([batch])])
        records, self.rest = self.rest.slice(0, count), self.rest.slice(count)
        if not len(records):
            return None
        numbers = range(self.num_taken + 1, self.num_taken + 1 + len(records))
        self.num_taken += len(records)
        return ArrowRows(self.source, numbers, self.field, records)

    def _is_good(self, rows: ArrowRows, index: int) -> bool:
        place = rows.place(index)
        try:
            try:
                require_text(rows.records.column(self.field)[index].as_py(), self.field, place)
            except UnicodeDecodeError as error:
                raise InputError(f"{place} is not UTF-8: {error.reason}.", param="input") from error
        except InputError as error:
            self.skipped.add(error)
            return False
        return True

    def estimate_rows(self) -> int | None:
        return self.num_rows

    def close(self) -> None:
        self.file.close()


def check_is_string(kind: Any, field: str, source: str) -> None:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)):
        raise InputError(f"The column {field!r} of {source} is of type {kind}; texts are strings.", param="field")
