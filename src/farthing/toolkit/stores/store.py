"""The interface of stores, which keep passages and their vectors, and find them by meaning or by words.

A store takes passages, vectors and words as they are given to it: it neither embeds nor splits nor segments. Each kind
of store has a folder of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.where import Condition


class Found(NamedTuple):
    """A passage that was found; `score` is its cosine, or its BM25."""

    passage: Passage
    score: float


class Candidates(NamedTuple):
    """Passages that are near or matching, by keys that only `held` and `read` understand.

    Attributes:
        cosines: the exact cosines of all of them; the nearest come first.
        bm25: the BM25 scores of those that match.
        held: for keys and some words, which of the words each of the passages with these keys has.
        read: the passages with these keys, as they were at the time of the search, in the order of the keys.
    """

    cosines: Mapping[Any, float]
    bm25: Mapping[Any, float]
    read: Callable[[Sequence[Any]], list[Passage]]
    held: Callable[[Sequence[Any], Collection[str]], list[set[str]]]


class StoreFacts(NamedTuple):
    """What a store holds. Until `build` is called, `num_unindexed` passages are searched one by one; a search by words
    finds passages only once `build` was called.

    `num_bytes` is None where the store does not know.
    """

    num_documents: int
    num_passages: int
    num_unindexed: int
    num_bytes: int | None


class Store(Protocol):
    """A store of passages, with one writer at a time. A process that is killed leaves what it had put, in whole
    documents.

    Attributes:
        keeps_replaced_s: for how long what was replaced stays on disk, for searches that read it.
    """

    keeps_replaced_s: float

    def put(self, passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> None:
        """Put whole documents in place of what is held of them, in one step.

        Args:
            words: the words of each passage, with spaces in between, as `matching` takes them.
            vectors: unit vectors, float32 [passages, dimensions].
        """
        ...

    def delete(self, documents: Sequence[str]) -> int:
        """Delete documents, and return how many of these there were."""
        ...

    def digests(self, documents: Sequence[str]) -> dict[str, str]:
        """The digests of those documents that are held."""
        ...

    def documents(self) -> list[str]:
        """The ids of all documents that are held."""
        ...

    def nearest(self, vector: np.ndarray, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        """Passages by cosine to `vector` (float32 [dimensions], length 1), best first; scores are exact cosines."""
        ...

    def matching(self, words: str, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        """Passages by BM25 of the words, best first. Passages with none of them are not found, nor any before
        `build`."""
        ...

    def candidates(self, vector: np.ndarray, words: str, num: int, where: Sequence[Condition] = ()) -> Candidates:
        """The `num` nearest and the `num` best matching passages, without reading them: few of them will be shown."""
        ...

    def has_any(self, keys: Sequence[str]) -> bool:
        """Whether a passage has one of these keys, which are those of `farthing.toolkit.stores.comparable`."""
        ...

    def sample_fields(self, num_passages: int) -> set[str]:
        """The names of the fields of at most `num_passages` passages."""
        ...

    def passages(self, batch_size: int = 1024) -> Iterator[list[Passage]]:
        """All passages that are held, with those of a document one after the other."""
        ...

    def build(self) -> None:
        """Make searches fast for what is held now, and free the space of what was replaced."""
        ...

    def facts(self) -> StoreFacts: ...

    def close(self) -> None: ...
