"""Keeps passages in a collection of Milvus, with Milvus's vector index and its own keyword search (BM25).

Milvus has no transactions. A document is put by writing its new passages over the old ones and then deleting the old
ones that are left. A search meanwhile may find passages of both, and a process that is killed may leave both, or a part
of a new document. Such a document counts as changed when it is added again, and is put anew; nothing that was whole is
deleted before what replaces it is there. What a search of another process finds may be seconds old; what decides
(digests, notes) is read as it is now.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from farthing.toolkit.stores.milvus.connection import MilvusConnection
from farthing.toolkit.stores.milvus.rows import (
    PART,
    SHOWN,
    RowPart,
    filter_of,
    having,
    one_of,
    passage_of,
    rows_of,
    schema,
    vector_indexes,
    word_token,
    word_tokens,
)
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.store import Candidates, Found, StoreFacts
from farthing.toolkit.stores.where import Condition

# A server refuses messages of more than 64 MB, and searches for more hits than this.
ROWS_A_REQUEST = 256
MAX_HITS = 16_384


class MilvusStore:
    """
    Args:
        collection: name of the collection; made where there is none.
        dimensions: the length of the vectors.

    Raises `VectorIndexError` here and in every method when Milvus cannot be reached or refuses.
    """

    keeps_replaced_s = 0.0

    def __init__(self, milvus: MilvusConnection, collection: str, dimensions: int) -> None:
        self._milvus, self._collection = milvus, collection
        milvus.make(collection, schema(dimensions), vector_indexes(milvus.lite is not None))

    # --- what is held -------------------------------------------------------------------------------------------------

    def put(self, passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> None:
        """Like `Store.put`, but in several steps. Raises `InputError` for a passage that Milvus cannot hold."""
        rows = list(rows_of(passages, words, vectors))
        held = self._parts({passage.document for passage in passages})
        for batch in batches(rows):
            self._call("upsert", batch)
        self._delete_rows({part.key for part in held} - {row["id"] for row in rows})

    def delete(self, documents: Sequence[str]) -> int:
        held = self._parts(documents)
        self._delete_rows(part.key for part in held)
        return len({part.document for part in held})

    def digests(self, documents: Sequence[str]) -> dict[str, str]:
        """Like `Store.digests`; the digest of a document that is not whole is empty."""
        parts: dict[str, list[RowPart]] = defaultdict(list)
        for part in self._parts(documents):
            parts[part.document].append(part)
        return {document: digest_of(found) for document, found in parts.items()}

    def documents(self) -> list[str]:
        return list(dict.fromkeys(row["document"] for page in self._pages(["document"]) for row in page))

    def has_any(self, keys: Sequence[str]) -> bool:
        return bool(self._call("query", filter=having(keys), output_fields=["id"], limit=1))

    def sample_fields(self, num_passages: int) -> set[str]:
        rows = self._call("query", filter="place >= 0", output_fields=[SHOWN], limit=num_passages)
        return {name for row in rows for name in passage_of(row).metadata}

    def passages(self, batch_size: int = 1024) -> Iterator[list[Passage]]:
        for page in self._pages([SHOWN], batch_size):
            yield [passage_of(row) for row in page]

    def facts(self) -> StoreFacts:
        """Like `Store.facts`. Milvus indexes rows by itself, and a server does not say how many bytes they take."""
        files = self._milvus.lite.glob(f"collections/{self._collection}/**/*") if self._milvus.lite else None
        return StoreFacts(
            num_documents=self._count("place == 0"),
            num_passages=self._count("place >= 0"),
            num_unindexed=0,
            num_bytes=None if files is None else sum(path.stat().st_size for path in files if path.is_file()),
        )

    def close(self) -> None:
        """Do nothing: the connection is the database's."""

    # --- searches -----------------------------------------------------------------------------------------------------

    def nearest(self, vector: np.ndarray, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        """Like `Store.nearest`; on a server a score is as exact as the server's index."""
        return [Found(passage_of(hit["entity"]), hit["distance"]) for hit in self._nearest(vector, num, where, [SHOWN])]

    def matching(self, words: str, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        return [Found(passage_of(hit["entity"]), bm25_of(hit)) for hit in self._matching(words, num, where, [SHOWN])]

    def candidates(self, vector: np.ndarray, words: str, num: int, where: Sequence[Condition] = ()) -> Candidates:
        """Like `Store.candidates`. Passages come with the hits, since Milvus could not give them later as they were."""
        near = self._nearest(vector, num, where, [SHOWN, "words"])
        matching = self._matching(words, num, where, [SHOWN, "words", "vector"])
        cosines = {hit["id"]: hit["distance"] for hit in near}
        for hit in matching:
            cosines.setdefault(hit["id"], float(np.asarray(hit["entity"]["vector"], dtype=np.float32) @ vector))
        entities = {hit["id"]: hit["entity"] for hit in (*near, *matching)}
        bm25 = {hit["id"]: bm25_of(hit) for hit in matching}

        def held(keys: Sequence[Any], some: Collection[str]) -> list[set[str]]:
            words_of = {word_token(word): word for word in some}
            tokens = [entities[key]["words"].split(" ") for key in keys]
            return [{words_of[token] for token in words_of.keys() & set(found)} for found in tokens]

        return Candidates(cosines, bm25, lambda keys: [passage_of(entities[key]) for key in keys], held)

    def _nearest(self, vector: np.ndarray, num: int, where: Sequence[Condition], fields: list[str]) -> list[Any]:
        return self._search("vector", vector.astype(np.float32), num, where, fields)

    def _matching(self, words: str, num: int, where: Sequence[Condition], fields: list[str]) -> list[Any]:
        tokens = word_tokens(words)
        hits = self._search("word_weights", tokens, num, where, fields) if tokens else []
        return [hit for hit in hits if bm25_of(hit) > 0]

    def _search(self, field: str, query: object, num: int, where: Sequence[Condition], fields: list[str]) -> list[Any]:
        wanted = {"anns_field": field, "limit": min(num, MAX_HITS), "filter": filter_of(where), "output_fields": fields}
        return list(self._call("search", data=[query], **wanted)[0])

    # --- upkeep -------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Like `Store.build`. A server writes and indexes by itself, and is asked to free space. Milvus Lite does all
        when told to."""
        self._call("flush" if self._milvus.lite else "compact")

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _parts(self, documents: Iterable[str]) -> list[RowPart]:
        """All rows of these documents, as they are now."""
        return [
            RowPart(row["id"], row["document"], row["digest"], row["num_passages"])
            for batch in batches(documents)
            for row in self._query(one_of("document", batch), ["id", *PART])
        ]

    def _delete_rows(self, keys: Iterable[str]) -> None:
        for batch in batches(sorted(keys)):
            self._call("delete", ids=batch)

    def _count(self, condition: str) -> int:
        return int(self._query(condition, ["count(*)"])[0]["count(*)"])

    def _query(self, condition: str, fields: list[str]) -> Any:
        return self._call("query", filter=condition, output_fields=fields, consistency_level="Strong")

    def _pages(self, fields: list[str], batch_size: int = 1024) -> Iterator[Any]:
        """All rows, in the order of keys."""
        pages = self._call("query_iterator", batch_size=batch_size, output_fields=fields, consistency_level="Strong")
        while True:
            with self._milvus.errors():
                page = pages.next()
            if not page:
                break
            yield page
        pages.close()

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._milvus.call(method, self._collection, *args, **kwargs)


def digest_of(parts: Sequence[RowPart]) -> str:
    """The digest of a document, from all its rows; empty when it is not whole, since a process was killed while putting
    it."""
    is_whole = len({part.digest for part in parts}) == 1 and len(parts) == parts[0].num_passages
    return parts[0].digest if is_whole else ""


def bm25_of(hit: Any) -> float:
    """The BM25 score of a hit, which Milvus Lite gives as a distance, below 0."""
    return abs(float(hit["distance"]))


def batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, ROWS_A_REQUEST)):
        yield batch
