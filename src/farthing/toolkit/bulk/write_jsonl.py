"""JSON Lines: each record as it came in, with the field "embedding" added at its end.

Records without a vector are left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from farthing.toolkit.records.fields import EMBEDDING_FIELD
from farthing.toolkit.records.rows import Rows

# Nine significant digits bring every float32 back exactly.
NUMBER = "%.9g"


class JsonlWriter:
    def write_chunk(self, path: Path, rows: Rows, vectors: np.ndarray, kept: Sequence[int]) -> None:
        embedding = f', "{EMBEDDING_FIELD}": [{", ".join([NUMBER] * vectors.shape[1])}]}}\n'
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for record, vector in zip(rows.json_objects(), vectors[kept], strict=True):
                # The record keeps its own spelling; only its closing brace is taken off.
                file.write(record.removesuffix("}").rstrip() + embedding % tuple(vector.tolist()))

    def assemble(self, chunks: Sequence[Path], path: Path) -> None:
        with path.open("wb") as target:
            for chunk in chunks:
                with chunk.open("rb") as source:
                    shutil.copyfileobj(source, target, length=1 << 20)
