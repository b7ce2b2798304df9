"""The output formats. Each writes a chunk to a file, and puts chunks together without holding all in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from farthing.core.errors import SettingsError
from farthing.toolkit.bulk.write_jsonl import JsonlWriter
from farthing.toolkit.bulk.write_npy import NpyWriter
from farthing.toolkit.bulk.write_parquet import ParquetWriter
from farthing.toolkit.records.fields import EMBEDDING_FIELD
from farthing.toolkit.records.rows import Rows

OUTPUT_SUFFIXES = (".npy", ".jsonl", ".parquet")


class Writer(Protocol):
    def write_chunk(self, path: Path, rows: Rows, vectors: np.ndarray, kept: Sequence[int]) -> None:
        """Write the vectors, and what the format keeps of their records.

        Args:
            rows: the rows that have a vector.
            vectors: float32 [all rows, dimensions]; zero for rows that have no vector.
            kept: the indices of `rows` among all rows.
        """
        ...

    def assemble(self, chunks: Sequence[Path], path: Path) -> None:
        """Write all chunks, in the order given, to one file."""
        ...


def open_writer(output: Path, metadata: Mapping[str, str], chunks: Sequence[Path]) -> Writer:
    """Return the writer for the suffix of `output`.

    Args:
        metadata: facts about the vectors, written where the format has a place for them.
        chunks: files of the chunks that exist already.

    Raises:
        MissingExtraError: the output is Parquet and pyarrow is not installed.
    """
    if output.suffix == ".parquet":
        return ParquetWriter(metadata, chunks)
    return NpyWriter() if output.suffix == ".npy" else JsonlWriter()


def check_output(output: Path) -> None:
    """Raise `SettingsError` when the output cannot be written to `output`."""
    if output.suffix not in OUTPUT_SUFFIXES:
        raise SettingsError(
            f"The output {output} must end in one of {', '.join(OUTPUT_SUFFIXES)}, which decides its format.",
            param="output",
        )
    if output.is_dir():
        raise SettingsError(f"The output {output} is a folder; give a file.", param="output")
    if not output.parent.is_dir():
        raise SettingsError(f"The folder {output.parent} does not exist; make it first.", param="output")


def reserved_field(output: Path) -> str | None:
    """Return the field that the output adds to each record; None for an output without records."""
    return None if output.suffix == ".npy" else EMBEDDING_FIELD
