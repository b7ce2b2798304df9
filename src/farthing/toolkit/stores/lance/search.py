"""Searches a LanceDB table of passages.

In: a table, and a query as vector or words. Out: queries that give the best rows, and the candidates of both kinds.
Rows are read late: a search gives row ids and scores, since reading the columns of a hundred candidates takes longer
than finding them, and only ten are shown.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from farthing.toolkit.stores.lance.rows import SHOWN, filtered, passage_of
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.store import Candidates
from farthing.toolkit.stores.where import Condition

# How many partitions are looked into: of a million rows a third (docs/search-scale.md has the recall).
NPROBES = 40
# How many rows are compared exactly: twice what is asked for, and at least so many.
REFINE_FACTOR, MIN_REFINED = 2, 100


def nearest(table: Any, vector: np.ndarray, num: int, where: Sequence[Condition]) -> Any:
    query = query_near(table, vector).refine_factor(max(REFINE_FACTOR, -(-MIN_REFINED // num)))
    return filtered(query, where).limit(num)


def query_near(table: Any, vector: np.ndarray) -> Any:
    """The query for the nearest rows. With an index, distances are about right; without one, they are exact."""
    return table.search(vector.astype(np.float32)).distance_type("cosine").nprobes(NPROBES)


def matching(table: Any, words: str, num: int, where: Sequence[Condition]) -> Any:
    from lancedb.query import MatchQuery

    any_of: Any = MatchQuery  # its defaults are pydantic's, which the types do not show
    return filtered(table.search(any_of(words, "words"), query_type="fts"), where).limit(num)


def candidates(
    table: Any, vector: np.ndarray, words: str, num: int, where: Sequence[Condition], *, is_exact: bool
) -> Candidates:
    """Like `Store.candidates`, with both searches side by side. Keys are row ids of the table's version, which must
    stay.

    Args:
        is_exact: whether the table has no index of vectors, so that it compares them itself. Otherwise the vectors of
            what both searches find are read and compared here, which takes one look at the table instead of two.
    """
    near = filtered(query_near(table, vector), where).limit(num)
    with ThreadPoolExecutor(1, thread_name_prefix="matching") as pool:
        by_words = pool.submit(scores, matching(table, words, num, where), "_score") if words else None
        distances = scores(near, "_distance")
        bm25 = by_words.result() if by_words else {}
    cosines = {key: 1.0 - distance for key, distance in distances.items()} if is_exact else {}
    missing = dict.fromkeys(key for key in (*distances, *bm25) if key not in cosines)
    found = exact_cosines(table, vector, list(missing))
    cosines.update(sorted(found.items(), key=lambda item: (item[0] not in distances, -item[1])))
    return Candidates(cosines, bm25, lambda keys: read(table, keys), lambda keys, some: held(table, keys, some))


def scores(query: Any, score: str) -> dict[int, float]:
    found = query.select([score]).with_row_id(True).to_arrow()
    return dict(zip(found["_rowid"].to_pylist(), found[score].to_pylist(), strict=True))


def exact_cosines(table: Any, vector: np.ndarray, keys: Sequence[int]) -> dict[int, float]:
    if not keys:
        return {}
    found = table.take_row_ids(keys).select(["vector"]).with_row_id().to_arrow()
    vectors = found["vector"].combine_chunks().flatten().to_numpy().reshape(-1, len(vector))
    return dict(zip(found["_rowid"].to_pylist(), (vectors @ vector).tolist(), strict=True))


def held(table: Any, keys: Sequence[int], words: Collection[str]) -> list[set[str]]:
    """Like `Candidates.held`."""
    if not keys:
        return []
    found = table.take_row_ids(list(keys)).select(["words"]).with_row_id().to_arrow()
    wanted = set(words)
    of_rows = zip(found["_rowid"].to_pylist(), found["words"].to_pylist(), strict=True)
    has = {key: wanted.intersection(text.split(" ")) for key, text in of_rows}
    return [has[key] for key in keys]


def read(table: Any, keys: Sequence[int]) -> list[Passage]:
    if not keys:
        return []
    rows = table.take_row_ids(list(keys)).select([SHOWN]).with_row_id().to_list()
    passages = {row["_rowid"]: passage_of(row) for row in rows}
    return [passages[key] for key in keys]
