"""Passages in a folder, with LanceDB: versioned columns on disk, its own vector and keyword indexes.

Every change is one new version, written beside the old one and then named by one small file, so that a process that is
killed leaves the last whole version. Up to `EXACT_ROWS` rows vectors are compared one by one; beyond that `build` makes
an index of partitions with RaBitQ codes (Gao and Long, SIGMOD 2024), whose best candidates are compared exactly again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from farthing.toolkit.documents.document import Value
from farthing.toolkit.extra import needed
from farthing.toolkit.index.held_documents import HeldDocuments
from farthing.toolkit.index.passage import Passage
from farthing.toolkit.index.store import Found, StoreFacts
from farthing.toolkit.index.where import Condition

TABLE = "passages"
SHOWN = ("id", "document", "digest", "text", "title", "source", "heading", "start", "end", "metadata")
WORDS_INDEX, VECTOR_INDEX = "words_idx", "vector_idx"

# Comparing so many vectors one by one takes a few milliseconds.
EXACT_ROWS = 20_000
# Partitions that are looked into, and how many times as many candidates as asked for are compared exactly.
NPROBES, REFINE_FACTOR = 20, 10
# Versions that readers may still be at.
KEEP_VERSIONS = timedelta(minutes=10)


class LanceStore:
    """
    Args:
        folder: of the database; made where there is none.
        dimensions: of the vectors.

    Raises:
        MissingExtraError: LanceDB is not installed.
    """

    def __init__(self, folder: Path, dimensions: int) -> None:
        with needed("An index"):
            import lancedb
        self._dimensions = dimensions
        self._folder = folder
        database = lancedb.connect(folder)
        # Its types know only what all kinds of queries have.
        self._table: Any
        if TABLE in database.list_tables().tables:
            self._table = database.open_table(TABLE)
        else:
            self._table = database.create_table(TABLE, schema=schema(dimensions))
        self._held = HeldDocuments(self._table)

    # --- what is held -------------------------------------------------------------------------------------------------

    def put(self, passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> None:
        """As `Store.put`. Documents that are not held yet are appended, which does not read what is held."""
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

    def delete(self, documents: Sequence[str]) -> int:
        held = self.digests(documents)
        if held:
            with self._held.changing([]):
                self._table.delete(one_of("document", held))
        return len(held)

    def digests(self, documents: Sequence[str]) -> dict[str, str]:
        perhaps = self._held.perhaps(documents)
        if not perhaps:
            return {}
        found = self._rows(one_of("document", perhaps), ("document", "digest"))
        return dict(zip(found["document"].to_pylist(), found["digest"].to_pylist(), strict=True))

    def documents(self) -> list[str]:
        return list(self._table.search().select(["document"]).to_arrow()["document"].unique().to_pylist())

    def passages(self, batch_size: int = 1024) -> Iterator[list[Passage]]:
        query = self._table.search().select(list(SHOWN))
        for batch in query.to_batches(batch_size):
            if batch.num_rows:
                yield [passage_of(row) for row in batch.to_pylist()]

    def facts(self) -> StoreFacts:
        documents = self._table.search().select(["document"]).to_arrow()["document"]
        num_passages = len(documents)
        stats = self._table.index_stats(WORDS_INDEX)
        return StoreFacts(
            num_documents=len(documents.unique()),
            num_passages=num_passages,
            num_unindexed=num_passages if stats is None else stats.num_unindexed_rows,
            num_bytes=sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file()),
        )

    def close(self) -> None:
        """Nothing is held back: every change was written when it was made."""

    # --- searches -----------------------------------------------------------------------------------------------------

    def nearest(self, vector: np.ndarray, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        query = self._table.search(vector.astype(np.float32)).distance_type("cosine")
        query = query.nprobes(NPROBES).refine_factor(REFINE_FACTOR)
        rows = filtered(query, where).select([*SHOWN, "_distance"]).limit(num).to_list()
        return [Found(passage_of(row), 1.0 - row["_distance"]) for row in rows]

    def matching(self, words: str, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        from lancedb.query import MatchQuery

        any_of: Any = MatchQuery  # its defaults are pydantic's, which the types do not show
        if not words or self._table.index_stats(WORDS_INDEX) is None:
            return []
        query = self._table.search(any_of(words, "words"), query_type="fts")
        rows = filtered(query, where).select([*SHOWN, "_score"]).limit(num).to_list()
        return [Found(passage_of(row), row["_score"]) for row in rows]

    def cosines(self, vector: np.ndarray, ids: Sequence[str]) -> dict[str, float]:
        if not ids:
            return {}
        found = self._rows(one_of("id", ids), ("id", "vector"))
        rows = found["vector"].combine_chunks().flatten().to_numpy().reshape(-1, self._dimensions)
        return dict(zip(found["id"].to_pylist(), (rows @ vector).tolist(), strict=True))

    def _rows(self, condition: str, columns: Sequence[str]) -> Any:
        return self._table.search().where(condition).select(list(columns)).to_arrow()

    # --- upkeep -------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        from lancedb.index import FTS, BTree, IvfRq

        num_rows = self._table.count_rows()
        if not num_rows:
            return
        have = {index.name for index in self._table.list_indices()}
        wanted: dict[str, tuple[str, Any]] = {
            "id_idx": ("id", BTree()),
            "document_idx": ("document", BTree()),
            # The words come segmented and folded: nothing more is done to them.
            WORDS_INDEX: ("words", FTS(base_tokenizer="whitespace", lower_case=False, stem=False,
                                       remove_stop_words=False, ascii_folding=False, max_token_length=None)),
        }  # fmt: skip
        if num_rows > EXACT_ROWS:
            wanted[VECTOR_INDEX] = ("vector", IvfRq(distance_type="cosine"))
        for name, (column, config) in wanted.items():
            if name not in have:
                self._table.create_index(column, config=config, name=name)
        self._table.optimize(cleanup_older_than=KEEP_VERSIONS)


# --- rows and conditions ----------------------------------------------------------------------------------------------


def schema(dimensions: int) -> Any:
    import pyarrow as pa

    kinds = {"start": pa.int64(), "end": pa.int64(), "metadata": pa.json_()}
    columns = [pa.field(name, kinds.get(name, pa.string()), nullable=False) for name in SHOWN]
    vector = pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False)
    return pa.schema([*columns, pa.field("words", pa.string(), nullable=False), vector])


def table_of(passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> Any:
    import pyarrow as pa

    columns: dict[str, Any] = {
        name: [getattr(passage, name) for passage in passages] for name in SHOWN if name != "metadata"
    }
    metadata = pa.array([json.dumps(typed(passage.metadata), ensure_ascii=False) for passage in passages], pa.string())
    columns["metadata"] = pa.ExtensionArray.from_storage(pa.json_(), metadata)
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    columns["words"] = list(words)
    return pa.table(columns, schema=pa.schema([schema(vectors.shape[1]).field(name) for name in columns]))


def passage_of(row: dict[str, Any]) -> Passage:
    fields = {name: row[name] for name in SHOWN}
    metadata = {name.partition(":")[2]: value for name, value in json.loads(row["metadata"]).items()}
    return Passage(**{**fields, "metadata": metadata})


def typed(metadata: Mapping[str, Value]) -> dict[str, Value]:
    """Names begin with the type of their value: JSON functions of SQL fail on a value of another type than theirs."""
    return {f"{kind_of(value)[0]}:{name}": value for name, value in metadata.items()}


def kind_of(value: Value) -> str:
    return "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "float"


def filtered(query: Any, where: Sequence[Condition]) -> Any:
    return query.where(" AND ".join(map(sql, where)), prefilter=True) if where else query


def sql(condition: Condition) -> str:
    """The condition in DataFusion's SQL. A value of another type than the condition's meets none."""
    kind = kind_of(condition.value)
    value = literal(condition.value) if isinstance(condition.value, str) else str(condition.value).lower()
    return f"json_get_{kind}(metadata, {literal(f'{kind[0]}:{condition.field}')}) {condition.operator} {value}"


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def one_of(column: str, values: Sequence[str] | dict[str, str]) -> str:
    return f"{column} IN ({', '.join(map(literal, values))})"
