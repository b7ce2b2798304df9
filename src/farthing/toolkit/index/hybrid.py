"""Finds passages by meaning, by words, or by both in one order.

In: a query as a vector and as words. Out: passages, best first, each with both of its scores where both were asked for.
A hybrid search takes the best candidates of both kinds and fuses them in one of two ways: as a weighted sum of scores
that are first brought to 0..1 for the query (Bruch, Gai and Ingber, https://arxiv.org/abs/2210.11934, find it better
than ranks), or by reciprocal ranks (Cormack, Clarke and Büttcher, SIGIR 2009), for which scores do not matter. In both,
the less of the query even the best passages have, the less words count.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError
from farthing.toolkit.index.words import Asked
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.store import Candidates, Store
from farthing.toolkit.stores.where import Condition

Mode = Literal["hybrid", "vector", "keyword"]
Fusion = Literal["sum", "ranks"]
Key = TypeVar("Key", bound=Hashable)

# How many candidates of each kind are taken, for each result that is asked for, and at least.
CANDIDATES_PER_RESULT, MIN_CANDIDATES = 4, 40
RANK_CONSTANT = 60.0
# How many candidates of each kind are used to judge how rare a word is; and how many of the best by words are looked at
# for the share of the query that they have.
SAMPLED, NUM_BEST = 40, 3
# Shares of the query, by the rarity of its words: up to the first share, words count nothing; from the second share on,
# they count in full. docs/log.md has what other numbers did.
LEAST_COVERED, WELL_COVERED = 0.25, 0.5


@dataclass(frozen=True)
class Blend:
    """
    Attributes:
        fusion: "sum" of scores, or reciprocal "ranks".
        vector_weight: the weight of the cosine; the words have the rest, where passages have much of the query.
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
        score: the score that decides the order: the cosine, BM25's, or the fused one.
        cosine: None where it was not asked for.
        bm25: None where it was not asked for; 0 for a passage that is not among the candidates by words.
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
    asked: Asked,
    num: int,
    where: Sequence[Condition] = (),
    blend: Blend | None = None,
) -> list[Hit]:
    """The best passages by meaning and words together.

    Args:
        vector: the query's unit vector, float32 [dimensions].
        asked: the words of the query, segmented as the passages were.
    """
    blend = blend or Blend()
    num_candidates = max(MIN_CANDIDATES, CANDIDATES_PER_RESULT * num)
    found = store.candidates(vector, " ".join(asked.content), num_candidates, where)
    weights = weighed(blend, found, asked.every)
    fuse = fuse_ranks if blend.fusion == "ranks" else fuse_scores
    fused = fuse(found.cosines, found.bm25, weights)
    best = sorted(fused, key=fused.__getitem__, reverse=True)[:num]
    return [
        Hit(passage, fused[key], found.cosines[key], found.bm25.get(key, 0.0))
        for key, passage in zip(best, found.read(best), strict=True)
    ]


class Weights(NamedTuple):
    """The weights of the two scores; their sum is 1."""

    cosine: float
    words: float


def weighed(blend: Blend, found: Candidates, words: Sequence[str]) -> Weights:
    """The blend's weights. The less of the query any passage has, the less weight words get.

    The best BM25 of a query is only the best there is, and may be next to nothing: one word of ten in a question that
    was not asked in the words of the answer.
    """
    if blend.vector_weight in (0, 1) or not found.bm25:
        return Weights(blend.vector_weight, 1 - blend.vector_weight)
    share = covered(found, words)
    trust = min(1.0, max(0.0, (share - LEAST_COVERED) / (WELL_COVERED - LEAST_COVERED)))
    of_words = (1 - blend.vector_weight) * trust
    total = blend.vector_weight + of_words
    return Weights(blend.vector_weight / total, of_words / total)


def covered(found: Candidates, words: Sequence[str]) -> float:
    """The largest share of the query's words that one of its best matching passages has; rare words count more.

    How rare a word is among the candidates stands for how rare it is among all passages, for which a store would have
    to be asked word by word. All words of the query count, even those that no passage has.
    """
    best = sorted(found.bm25, key=found.bm25.__getitem__, reverse=True)[:SAMPLED]
    sample = list(dict.fromkeys((*best, *itertools.islice(found.cosines, SAMPLED))))
    held = found.held(sample, words)
    num_having = Counter(word for of_passage in held for word in of_passage)
    rarity = {
        word: times * math.log(1 + (len(sample) - num_having[word] + 0.5) / (num_having[word] + 0.5))
        for word, times in Counter(words).items()
    }
    total = sum(rarity.values())
    return max(sum(rarity[word] for word in of_passage) for of_passage in held[:NUM_BEST]) / total


def fuse_scores(cosines: Mapping[Key, float], bm25: Mapping[Key, float], weights: Weights) -> dict[Key, float]:
    """The weighted sums of the scores. Cosines are scaled from the candidates' least to their greatest; BM25 from 0,
    the score of a passage that shares no word."""
    least, greatest = min(cosines.values(), default=0.0), max(cosines.values(), default=0.0)
    if least == greatest:
        least -= 1.0  # all candidates are the best
    span, most = greatest - least, max(bm25.values(), default=0.0) or 1.0
    return {
        name: weights.cosine * (cosine - least) / span + weights.words * bm25.get(name, 0.0) / most
        for name, cosine in cosines.items()
    }


def fuse_ranks(cosines: Mapping[Key, float], bm25: Mapping[Key, float], weights: Weights) -> dict[Key, float]:
    fused = dict.fromkeys(cosines, 0.0)
    for scores, weight in ((cosines, weights.cosine), (bm25, weights.words)):
        for rank, name in enumerate(sorted(scores, key=scores.__getitem__, reverse=True), start=1):
            fused[name] += weight / (RANK_CONSTANT + rank)
    return fused
