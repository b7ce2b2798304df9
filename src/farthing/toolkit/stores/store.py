"""Where passages and their vectors are kept, and found by meaning or by words.

A store knows passages, vectors and words as they are given to it: it neither embeds nor splits nor segments. One file a
kind of store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.where import Condition


class Found(NamedTuple):
    """`score` is the cosine, or BM25's."""

    passage: Passage
    score: float


class Candidates(NamedTuple):
    """Passages that are near or matching, by keys that only `read` understands.

    Attributes:
        cosines: of all of them, exact; the nearest come first.
        bm25: of those that match.
        held: of some words, those that each of the passages with these keys has.
        read: the passages with these keys, as they were at the time of the search, in the order of the keys.
    """

    cosines: Mapping[Any, float]
    bm25: Mapping[Any, float]
    read: Callable[[Sequence[Any]], list[Passage]]
    held: Callable[[Sequence[Any], Collection[str]], list[set[str]]]


class StoreFacts(NamedTuple):
    """`num_unindexed` passages are searched one by one until `build` is called; by words only once it was called.

    `num_bytes` is None where the store does not know.
    """

    num_documents: int
    num_passages: int
    num_unindexed: int
    num_bytes: int | None


class Store(Protocol):
    """One writer at a time. A process that is killed leaves what it had put, whole documents each.

    Attributes:
        keeps_replaced_s: for how long what was replaced stays on disk, for searches that read it.
    """

    keeps_replaced_s: float

    def put(self, passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> None:
        """Put whole documents in place of what is held of them, in one step.

        Args:
            words: of each passage, with spaces in between, as `matching` is asked for them.
            vectors: of length 1, float32 [passages, dimensions].
        """
        ...

    def delete(self, documents: Sequence[str]) -> int:
        """Returns how many of these documents there were."""
        ...

    def digests(self, documents: Sequence[str]) -> dict[str, str]:
        """Of those of the documents that are held."""
        ...

    def documents(self) -> list[str]:
        """Ids of all that is held."""
        ...

    def nearest(self, vector: np.ndarray, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        """Passages by cosine to `vector` (float32 [dimensions], length 1), best first; scores are exact cosines."""
        ...

    def matching(self, words: str, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        """Passages by BM25 of the words, best first; those with none of them are not found, nor any before `build`."""
        ...

    def candidates(self, vector: np.ndarray, words: str, num: int, where: Sequence[Condition] = ()) -> Candidates:
        """Both the `num` nearest and the `num` best matching, without reading them: few of them will be shown."""
        ...

    def has_any(self, keys: Sequence[str]) -> bool:
        """Whether a passage has one of these keys, which are those of `farthing.toolkit.stores.comparable`."""
        ...

    def sample_fields(self, num_passages: int) -> set[str]:
        """Names of the fields of some passages, of at most so many."""
        ...

    def passages(self, batch_size: int = 1024) -> Iterator[list[Passage]]:
        """All that is held, those of a document one after the other."""
        ...

    def build(self) -> None:
        """Make searches fast for what is held now, and give back the room of what was replaced."""
        ...

    def facts(self) -> StoreFacts: ...

    def close(self) -> None: ...
