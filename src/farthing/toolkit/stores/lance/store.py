"""Keeps passages in a folder, with LanceDB: versioned columns on disk, with LanceDB's vector and keyword indexes.

Every change is one new version, written beside the old one and then named by one small file, so that a process that is
killed leaves the last whole version. Up to `EXACT_ROWS` rows, vectors are compared one by one. Beyond that, `build`
makes an index of partitions with RaBitQ codes (Gao and Long, SIGMOD 2024), whose best candidates are compared exactly
again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from farthing.toolkit.optional import needed
from farthing.toolkit.stores.failures import lance_errors
from farthing.toolkit.stores.lance.folder import TABLE
from farthing.toolkit.stores.lance.held_documents import HeldDocuments
from farthing.toolkit.stores.lance.library import import_lancedb
from farthing.toolkit.stores.lance.rows import SHOWN, having, one_of, passage_of, schema, table_of
from farthing.toolkit.stores.lance.search import candidates, matching, nearest
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.store import Candidates, Found, StoreFacts
from farthing.toolkit.stores.where import Condition

WORDS_INDEX, VECTOR_INDEX = "words_idx", "vector_idx"

# Comparing so many vectors one by one takes a few milliseconds.
EXACT_ROWS = 20_000
# How long replaced versions are kept, since readers may still be at them.
KEEP_VERSIONS = timedelta(minutes=10)
# How soon a reader sees what another process has written.
SEEN_AFTER = timedelta(seconds=1)
# The most ids that one deletion names: an expression of SQL takes memory, and the stack of the thread that reads it.
IDS_AT_A_TIME = 5_000

P = ParamSpec("P")
T = TypeVar("T")


def told(method: Callable[Concatenate[LanceStore, P], T]) -> Callable[Concatenate[LanceStore, P], T]:
    """The method, with errors of LanceDB turned into errors of ours."""

    @wraps(method)
    def call(self: LanceStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._errors():
            return method(self, *args, **kwargs)

    return call


class LanceStore:
    """
    Args:
        folder: the folder of the database; made where there is none.
        dimensions: the length of the vectors.
        errors: wraps all calls of LanceDB and makes its errors ours; None to name the folder in them.

    Raises:
        MissingExtraError: LanceDB is not installed.
        VectorIndexError: here and in every method, when LanceDB cannot read or write its files.
    """

    keeps_replaced_s = KEEP_VERSIONS.total_seconds()

    def __init__(
        self, folder: Path, dimensions: int, errors: Callable[[], AbstractContextManager[None]] | None = None
    ) -> None:
        with needed("An index"):
            self._lancedb = import_lancedb()
        self._dimensions = dimensions
        self._folder = folder
        self._errors = errors or partial(lance_errors, str(folder))
        self._open()

    @told
    def _open(self) -> None:
        self._database = self._lancedb.connect(self._folder, read_consistency_interval=SEEN_AFTER)
        # LanceDB's types know only what all kinds of queries have.
        self._table: Any
        if (self._folder / f"{TABLE}.lance").is_dir():  # what LanceDB lists as its tables
            self._table = self._database.open_table(TABLE)
        else:
            self._table = self._database.create_table(TABLE, schema=schema(self._dimensions))
            # A search by words finds only rows of a table with an index of words. The table has one from the start, so
            # that no process that is killed leaves rows that are not found.
            self._table.create_index("words", config=words_index(), name=WORDS_INDEX)
        self._latest: tuple[int, Any, set[str]] | None = None
        self._held = HeldDocuments(self._table)

    # --- what is held -------------------------------------------------------------------------------------------------

    @told
    def put(self, passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> None:
        """Like `Store.put`. Documents that are not held yet are appended, which does not read the rows that are."""
        if not passages:
            return
        rows = table_of(passages, words, vectors)
        documents = list(dict.fromkeys(passage.document for passage in passages))
        is_new = not self.digests(documents)
        with self._held.changing(documents):
            if is_new:
                self._table.add(rows)
                return
            merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.when_not_matched_by_source_delete(one_of("document", documents)).execute(rows)

    @told
    def delete(self, documents: Sequence[str]) -> int:
        """Like `Store.delete`. Very many documents are deleted some thousands at a time."""
        num_deleted = 0
        for some in batches(list(dict.fromkeys(documents))):
            held = self.digests(some)
            if held:
                with self._held.changing([]):
                    self._table.delete(one_of("document", held))
            num_deleted += len(held)
        return num_deleted

    @told
    def digests(self, documents: Sequence[str]) -> dict[str, str]:
        digests: dict[str, str] = {}
        for some in batches(self._held.perhaps(documents)):
            found = self._rows(one_of("document", some), ("document", "digest"))
            digests.update(zip(found["document"].to_pylist(), found["digest"].to_pylist(), strict=True))
        return digests

    @told
    def documents(self) -> list[str]:
        return list(self._table.search().select(["document"]).to_arrow()["document"].unique().to_pylist())

    @told
    def has_any(self, keys: Sequence[str]) -> bool:
        return bool(self._table.search().where(having(keys)).select(["id"]).limit(1).to_arrow().num_rows)

    @told
    def sample_fields(self, num_passages: int) -> set[str]:
        rows = self._table.search().select([SHOWN]).limit(num_passages).to_arrow().to_pylist()
        return {name for row in rows for name in passage_of(row).metadata}

    def passages(self, batch_size: int = 1024) -> Iterator[list[Passage]]:
        """Like `Store.passages`. Rows are asked for by document, since a merge leaves the rows of a document apart."""
        names = self.documents()
        for first in range(0, len(names), batch_size):
            yield self._passages(names[first : first + batch_size])

    @told
    def _passages(self, names: Sequence[str]) -> list[Passage]:
        documents: dict[str, list[Passage]] = {name: [] for name in names}
        for row in self._rows(one_of("document", names), [SHOWN]).to_pylist():
            passage = passage_of(row)
            documents[passage.document].append(passage)
        return [one for found in documents.values() for one in sorted(found, key=lambda passage: passage.start)]

    @told
    def facts(self) -> StoreFacts:
        documents = self._table.search().select(["document"]).to_arrow()["document"]
        num_passages = len(documents)
        stats = self._table.index_stats(WORDS_INDEX)
        return StoreFacts(
            num_documents=len(documents.unique()),
            num_passages=num_passages,
            num_unindexed=num_passages if stats is None else stats.num_unindexed_rows,
            num_bytes=sum(size_of(Path(folder, name)) for folder, _, names in os.walk(self._folder) for name in names),
        )

    def close(self) -> None:
        """Do nothing: every change was written when it was made."""

    # --- searches -----------------------------------------------------------------------------------------------------

    @told
    def nearest(self, vector: np.ndarray, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        rows = nearest(self._table, vector, num, where).select([SHOWN, "_distance"]).to_list()
        return [Found(passage_of(row), 1.0 - row["_distance"]) for row in rows]

    @told
    def matching(self, words: str, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        table, indexes = self._snapshot()
        if not words or WORDS_INDEX not in indexes:
            return []
        rows = matching(table, words, num, where).select([SHOWN, "_score"]).to_list()
        return [Found(passage_of(row), row["_score"]) for row in rows]

    @told
    def candidates(self, vector: np.ndarray, words: str, num: int, where: Sequence[Condition] = ()) -> Candidates:
        table, indexes = self._snapshot()
        words = words if WORDS_INDEX in indexes else ""
        found = candidates(table, vector, words, num, where, is_exact=VECTOR_INDEX not in indexes)
        return found._replace(
            read=lambda keys: self._read(found, keys), held=lambda keys, some: self._words_held(found, keys, some)
        )

    @told
    def _read(self, found: Candidates, keys: Sequence[Any]) -> list[Passage]:
        return found.read(keys)

    @told
    def _words_held(self, found: Candidates, keys: Sequence[Any], words: Collection[str]) -> list[set[str]]:
        return found.held(keys, words)

    def _snapshot(self) -> tuple[Any, set[str]]:
        """The table as it is now, whatever is put or built later, since row ids are those of one version; and the names
        of its indexes."""
        version, latest = self._table.version, self._latest
        if latest is None or latest[0] != version:
            table = self._database.open_table(TABLE)
            table.checkout(version)
            self._latest = latest = version, table, {index.name for index in table.list_indices()}
        return latest[1:]

    def _rows(self, condition: str, columns: Sequence[str]) -> Any:
        return self._table.search().where(condition).select(list(columns)).to_arrow()

    # --- upkeep -------------------------------------------------------------------------------------------------------

    @told
    def build(self) -> None:
        from lancedb.index import BTree, IvfRq

        num_rows = self._table.count_rows()
        if not num_rows:
            return
        have = {index.name for index in self._table.list_indices()}
        wanted: dict[str, tuple[str, Any]] = {
            "id_idx": ("id", BTree()),
            "document_idx": ("document", BTree()),
            WORDS_INDEX: ("words", words_index()),
        }
        if num_rows > EXACT_ROWS:
            wanted[VECTOR_INDEX] = ("vector", IvfRq(distance_type="cosine"))
        for name, (column, config) in wanted.items():
            if name not in have:
                self._table.create_index(column, config=config, name=name)
        self._table.optimize(cleanup_older_than=KEEP_VERSIONS)


def words_index() -> Any:
    """The settings of the index of words. The words come segmented and folded: nothing more is done to them."""
    from lancedb.index import FTS

    return FTS(
        base_tokenizer="whitespace",
        lower_case=False,
        stem=False,
        remove_stop_words=False,
        ascii_folding=False,
        max_token_length=None,
    )


def batches(items: Sequence[str]) -> Iterator[Sequence[str]]:
    return (items[first : first + IDS_AT_A_TIME] for first in range(0, len(items), IDS_AT_A_TIME))


def size_of(file: Path) -> int:
    """The size of a file in bytes; 0 for a file that another process has just removed."""
    try:
        return file.lstat().st_size
    except FileNotFoundError:
        return 0
