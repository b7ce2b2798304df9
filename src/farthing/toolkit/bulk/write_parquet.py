"""Parquet: the columns of the input and `embedding`, a fixed-size list of float32. Needs pyarrow.

Records without a vector are left out. The file's metadata names the model and the id of the vector space. A column made
from JSON may hold whole numbers in one chunk, and fractions or nothing in another; the output takes the type that holds
both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from farthing.core.errors import InputError, MissingExtraError
from farthing.toolkit.records.fields import EMBEDDING_FIELD
from farthing.toolkit.records.rows import Rows

# Small chunks are put together into row groups of about this size.
ROW_GROUP_BYTES = 64 * 2**20


class ParquetWriter:
    """
    Args:
        metadata: goes into the file's own metadata.
        chunks: files of the chunks that exist already; further chunks must fit their columns.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, metadata: Mapping[str, str], chunks: Sequence[Path]) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError("Writing Parquet", "parquet") from error
        self.arrow, self.parquet, self.metadata = pyarrow, parquet, metadata
        self.schema = self.unify(map(parquet.read_schema, chunks)) if chunks else None

    def write_chunk(self, path: Path, rows: Rows, vectors: np.ndarray, kept: Sequence[int]) -> None:
        """Write a chunk as one Parquet file.

        Raises `InputError` for types that Parquet has no place for, or that contradict the types of earlier chunks.
        """
        num_rows, dimensions = len(kept), vectors.shape[1]
        values = self.arrow.array(vectors[kept].reshape(-1), type=self.arrow.float32())
        embeddings = self.arrow.FixedSizeListArray.from_arrays(values, dimensions)
        table = rows.table().append_column(EMBEDDING_FIELD, embeddings)
        try:
            self.schema = self.unify([self.schema, table.schema] if self.schema is not None else [table.schema])
            self.parquet.write_table(table, path)
        except self.arrow.ArrowException as error:
            raise InputError(
                f"{rows.place(0)}, or one of the {num_rows - 1} rows after it, does not fit into the Parquet columns: "
                f"{error}. Write JSON Lines instead (-o NAME.jsonl).",
                param="input",
            ) from error

    def unify(self, schemas: Any) -> Any:
        """Return a schema that can hold the tables of all `schemas`, with the embedding as its last column."""
        schema = self.arrow.unify_schemas(list(schemas), promote_options="permissive")
        place = schema.get_field_index(EMBEDDING_FIELD)
        return schema.remove(place).append(schema.field(place))

    def assemble(self, chunks: Sequence[Path], path: Path) -> None:
        assert self.schema is not None, "nothing to assemble"
        schema = self.schema.with_metadata({**(self.schema.metadata or {}), **self.metadata})
        with self.parquet.ParquetWriter(path, schema) as file:
            for table in self.row_groups(chunks):
                file.write_table(table)

    def row_groups(self, chunks: Sequence[Path]) -> Iterator[Any]:
        """Yield the chunks' tables in the common schema, small ones put together."""
        assert self.schema is not None
        table = empty = self.schema.empty_table()
        for chunk in chunks:
            parts = [table, self.parquet.read_table(chunk)]
            table = self.arrow.concat_tables(parts, promote_options="permissive").select(self.schema.names)
            if table.nbytes >= ROW_GROUP_BYTES:
                yield table
                table = empty
        if len(table):
            yield table
