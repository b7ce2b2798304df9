"""The identity of a vector space.

Vectors can be compared only when they come from the same space. Whatever stores vectors (a cache, an index, a
file) keeps the space beside them and refuses vectors of another one.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import replace

from farthing.core.deferred import dataclass

ELSEWHERE = "upstream"  # stands for the pooling that a server elsewhere does


@dataclass(frozen=True)
class VectorSpace:
    """What two vectors must share to be comparable.

    Attributes:
        model: the name of the model as it was asked for.
        fingerprint: the digest of the checkpoint's weights, config and tokenizer and of how its vectors are made,
            followed by a hyphen and the format where rounding to it makes a space of its own.
        pooling: "last", "cls" or "mean"; "none" for vectors of single tokens, `ELSEWHERE` where another server pools.
        dimensions: the number of dimensions of the vectors.
        normalized: whether the vectors have length 1.
    """

    model: str
    fingerprint: str
    pooling: str
    dimensions: int
    normalized: bool

    @property
    def format(self) -> str:
        """The format that the weights were rounded to, which makes a space of its own.

        It is "none" where they were not rounded, and "" where only another server knows.
        """
        if self.pooling == ELSEWHERE:
            return ""
        _, _, rounding = self.fingerprint.partition("-")
        return rounding.partition("-")[0] or "none"

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits that differ when the space differs; the model's name does not count."""
        return space_id(self.fingerprint, self.pooling, self.dimensions, self.normalized)

    def of_vectors(self, dimensions: int, *, normalized: bool) -> VectorSpace:
        """The space of vectors that were cut to that many dimensions, and normalised or not."""
        if (dimensions, normalized) == (self.dimensions, self.normalized):
            return self
        return replace(self, dimensions=dimensions, normalized=normalized)

    def is_what_tells(self, elsewhere: VectorSpace) -> bool:
        """Whether the vectors of another server, a Farthing that says which space they are of, are of this space."""
        said = replace(self, dimensions=elsewhere.dimensions).id
        named = elsewhere_fingerprint(said, elsewhere.dimensions)
        return elsewhere.pooling == ELSEWHERE and elsewhere.fingerprint == named


@functools.lru_cache(maxsize=1024)  # asked for with every answer
def elsewhere_fingerprint(named: str, dimensions: int) -> str:
    """The fingerprint of the vectors of another server.

    Args:
        named: what stands for the server's weights: the identity of the full vectors' space where the server tells it.
        dimensions: the number of dimensions of the full vectors.
    """
    digest = hashlib.sha256(json.dumps([named, dimensions]).encode()).hexdigest()
    return f"upstream-{digest[:16]}"


@functools.lru_cache(maxsize=1024)  # asked for with every answer
def space_id(fingerprint: str, pooling: str, dimensions: int, normalized: bool) -> str:
    facts = {"fingerprint": fingerprint, "pooling": pooling, "dimensions": dimensions, "normalized": normalized}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
