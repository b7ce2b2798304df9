"""Tells which documents a LanceDB table may hold, without asking it.

Looking for ids reads every part that was appended since the table's indexes were built, so that adding a million new
documents would read what was added before again and again. A hash of each id tells at once that a document is new. In:
ids. Out: those that the table may have. No id that it has is missing, and one that it does not have is hardly ever
among them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class HeldDocuments:
    """Hashes of the ids of a table's documents, some 70 bytes a document. They are read from the table when they are
    first needed, and again when others have changed the table."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._hashes: set[int] = set()
        self._version: int | None = None
        self._lock = threading.Lock()

    def perhaps(self, documents: Sequence[str]) -> list[str]:
        """The ones among `documents` that the table may hold."""
        with self._lock:
            if self._version != self._table.version:
                self._read()
            return [document for document in documents if hash(document) in self._hashes]

    @contextmanager
    def changing(self, documents: Sequence[str]) -> Iterator[None]:
        """Wrap one change of the table, after which it holds no documents but those that it held before and these."""
        with self._lock:
            before = self._table.version
            yield
            if before == self._version and self._table.version == before + 1:
                self._version = self._table.version
                self._hashes.update(map(hash, documents))

    def _read(self) -> None:
        version = self._table.version
        batches = self._table.search().select(["document"]).to_batches()
        self._hashes = {hash(document) for batch in batches for document in batch["document"].to_pylist()}
        self._version = version
