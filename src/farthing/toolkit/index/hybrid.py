"""Passages by meaning, by words, or by both in one order.

In: a query as a vector and as words. Out: passages, best first, each with both of its scores where both were asked
for. A hybrid search takes the best candidates of both kinds and fuses them: as a weighted sum of scores that are first
brought to 0..1 for the query (Bruch, Gai and Ingber, https://arxiv.org/abs/2210.11934, find it better than ranks), or
by reciprocal ranks (Cormack, Clarke and Büttcher, SIGIR 2009), for which scores do not matter.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from farthing.core.errors import InputError
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.store import Store
from farthing.toolkit.stores.where import Condition

Mode = Literal["hybrid", "vector", "keyword"]
Fusion = Literal["sum", "ranks"]
Key = TypeVar("Key", bound=Hashable)

# Candidates of each kind, for each result that is asked for, and at least.
CANDIDATES_PER_RESULT, MIN_CANDIDATES = 4, 40
RANK_CONSTANT = 60.0


@dataclass(frozen=True)
class Blend:
    """
    Attributes:
        fusion: "sum" of scores, or reciprocal "ranks".
        vector_weight: of the cosine; the rest is the words'.
    """

    fusion: Fusion = "sum"
    vector_weight: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.vector_weight <= 1:
            raise InputError(f"vector_weight is {self.vector_weight}; it must be from 0 to 1.", param="vector_weight")
        if self.fusion not in ("sum", "ranks"):
            raise InputError(f"fusion is {self.fusion!r}; it must be sum or ranks.", param="fusion")


class Hit(NamedTuple):
    """
    Attributes:
        score: what the order is by: the cosine, BM25's, or the fused one.
        cosine: None where it was not asked for.
        bm25: None where it was not asked for; 0 of a passage that is not among the candidates by words.
    """

    passage: Passage
    score: float
    cosine: float | None = None
    bm25: float | None = None


def by_vector(store: Store, vector: np.ndarray, num: int, where: Sequence[Condition] = ()) -> list[Hit]:
    return [Hit(passage, score, cosine=score) for passage, score in store.nearest(vector, num, where)]


def by_words(store: Store, words: Sequence[str], num: int, where: Sequence[Condition] = ()) -> list[Hit]:
    return [Hit(passage, score, bm25=score) for passage, score in store.matching(" ".join(words), num, where)]


def by_both(
    store: Store,
    vector: np.ndarray,
    words: Sequence[str],
    num: int,
    where: Sequence[Condition] = (),
    blend: Blend | None = None,
) -> list[Hit]:
    """
    Args:
        vector: of the query, of length 1, float32 [dimensions].
        words: of the query, segmented as the passages were.
    """
    blend = blend or Blend()
    num_candidates = max(MIN_CANDIDATES, CANDIDATES_PER_RESULT * num)
    found = store.candidates(vector, " ".join(words), num_candidates, where)
    fuse = fuse_ranks if blend.fusion == "ranks" else fuse_scores
    fused = fuse(found.cosines, found.bm25, blend)
    best = sorted(fused, key=fused.__getitem__, reverse=True)[:num]
    return [
        Hit(passage, fused[key], found.cosines[key], found.bm25.get(key, 0.0))
        for key, passage in zip(best, found.read(best), strict=True)
    ]


def fuse_scores(cosines: Mapping[Key, float], bm25: Mapping[Key, float], blend: Blend) -> dict[Key, float]:
    """Cosines run from the least of the candidates' to the greatest; BM25 from 0, which no shared word gives."""
    least, greatest = min(cosines.values(), default=0.0), max(cosines.values(), default=0.0)
    if least == greatest:
        least -= 1.0  # they are all the best
    span, most = greatest - least, max(bm25.values(), default=0.0) or 1.0
    return {
        name: blend.vector_weight * (cosine - least) / span + (1 - blend.vector_weight) * bm25.get(name, 0.0) / most
        for name, cosine in cosines.items()
    }


def fuse_ranks(cosines: Mapping[Key, float], bm25: Mapping[Key, float], blend: Blend) -> dict[Key, float]:
    fused = dict.fromkeys(cosines, 0.0)
    for scores, weight in ((cosines, blend.vector_weight), (bm25, 1 - blend.vector_weight)):
        for rank, name in enumerate(sorted(scores, key=scores.__getitem__, reverse=True), start=1):
            fused[name] += weight / (RANK_CONSTANT + rank)
    return fused
