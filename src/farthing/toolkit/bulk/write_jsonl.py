"""JSON Lines: each record as it came in, with the field "embedding" added at its end.

Records without a vector are left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from farthing.toolkit.records.fields import EMBEDDING_FIELD, with_fields
from farthing.toolkit.records.rows import Rows

# Nine significant digits bring every float32 back exactly.
NUMBER = "%.9g"


def embedding_field(dimensions: int) -> str:
    """The format string of the field with an embedding of so many numbers."""
    return f'"{EMBEDDING_FIELD}": [{", ".join([NUMBER] * dimensions)}]'


class JsonlWriter:
    def write_chunk(self, path: Path, rows: Rows, vectors: np.ndarray, kept: Sequence[int]) -> None:
        field = embedding_field(vectors.shape[1])
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for record, vector in zip(rows.json_objects(), vectors[kept], strict=True):
                file.write(with_fields(record, field % tuple(vector.tolist())) + "\n")

    def assemble(self, chunks: Sequence[Path], path: Path) -> None:
        with path.open("wb") as target:
            for chunk in chunks:
                with chunk.open("rb") as source:
                    shutil.copyfileobj(source, target, length=1 << 20)
