"""Where passages and their vectors are kept, and found by meaning or by words.

A store knows passages, vectors and words as they are given to it: it neither embeds nor splits nor segments. One file a
kind of store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from farthing.toolkit.index.passage import Passage
from farthing.toolkit.index.where import Condition


class Found(NamedTuple):
    """`score` is the cosine, or BM25's."""

    passage: Passage
    score: float


class StoreFacts(NamedTuple):
    """`num_unindexed` passages are searched one by one until `build` is called; by words only once it was called."""

    num_documents: int
    num_passages: int
    num_unindexed: int
    num_bytes: int


class Store(Protocol):
    """One writer at a time. A process that is killed leaves what it had put, whole documents each."""

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

    def cosines(self, vector: np.ndarray, ids: Sequence[str]) -> dict[str, float]:
        """Of the passages with these ids to `vector`."""
        ...

    def passages(self, batch_size: int = 1024) -> Iterator[list[Passage]]:
        """All that is held, those of a document one after the other."""
        ...

    def build(self) -> None:
        """Make searches fast for what is held now, and give back the room of what was replaced."""
        ...

    def facts(self) -> StoreFacts: ...

    def close(self) -> None: ...
