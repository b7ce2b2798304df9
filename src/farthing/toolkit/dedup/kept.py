"""Rows that are kept so far, and which of them is nearest to a row that comes.

In: unit vectors of all records, and numbers of rows that were kept. Out: for new rows the nearest kept one and the
cosine. Two ways: all of them are looked at (`Exhaustive`), or those of the nearest partitions (`Partitions`, as an
inverted file does it: Jegou, Douze, Schmid 2011, "Product Quantization for Nearest Neighbor Search", section IV).
Neither copies vectors: they stay where they are, also in a mapped file.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

# Kept rows that are compared with a block of new ones at a time.
ROWS_AT_A_TIME = 4096


class Kept(Protocol):
    def nearest(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each vector of `block` [rows, dimensions] the nearest kept row (int64, -1 for none) and its cosine."""
        ...

    def add(self, rows: np.ndarray, block: np.ndarray) -> None:
        """Keep `rows` (int64); `block` has their vectors."""
        ...


class Exhaustive:
    """Compares with every kept row."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.rows = np.empty(0, dtype=np.int64)

    def nearest(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = none_yet(len(block))
        improve(found, np.arange(len(block)), block, self.rows, self.vectors)
        return found

    def add(self, rows: np.ndarray, block: np.ndarray) -> None:  # noqa: ARG002
        self.rows = np.concatenate((self.rows, rows))


class Partitions:
    """Compares with the kept rows of the partitions whose pivots are nearest.

    Args:
        pivots: unit vectors, float32 [partitions, dimensions]; a kept row belongs to the nearest one.
        num_probed: how many partitions are looked into.
    """

    def __init__(self, vectors: np.ndarray, pivots: np.ndarray, num_probed: int) -> None:
        self.vectors, self.pivots, self.num_probed = vectors, pivots, min(num_probed, len(pivots))
        self.rows = self.owners = np.empty(0, dtype=np.int64)
        self.starts = np.zeros(len(pivots) + 1, dtype=np.int64)

    def nearest(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = none_yet(len(block))
        probed = self.probed(block).ravel()
        order = np.argsort(probed, kind="stable")
        bounds = np.searchsorted(probed[order], np.arange(len(self.pivots) + 1))
        for partition in np.flatnonzero(np.diff(bounds) * np.diff(self.starts)):
            asking = order[bounds[partition] : bounds[partition + 1]] // self.num_probed
            members = self.rows[self.starts[partition] : self.starts[partition + 1]]
            improve(found, asking, block[asking], members, self.vectors)
        return found

    def probed(self, block: np.ndarray) -> np.ndarray:
        """The partitions that are looked into: int64 [rows, probed], in no order."""
        cosines = block @ self.pivots.T
        return np.argpartition(-cosines, self.num_probed - 1, axis=1)[:, : self.num_probed]

    def add(self, rows: np.ndarray, block: np.ndarray) -> None:
        owners = np.concatenate((self.owners, (block @ self.pivots.T).argmax(axis=1)))
        order = np.argsort(owners, kind="stable")
        self.owners, self.rows = owners[order], np.concatenate((self.rows, rows))[order]
        self.starts = np.searchsorted(self.owners, np.arange(len(self.pivots) + 1))


def none_yet(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(count, -1, dtype=np.int64), np.full(count, -2, dtype=np.float32)


def improve(
    found: tuple[np.ndarray, np.ndarray],
    asking: np.ndarray,
    block: np.ndarray,
    members: np.ndarray,
    vectors: np.ndarray,
) -> None:
    """Put a nearer one of `members` into `found` at the places `asking`, whose vectors `block` has."""
    nearest, cosines = found
    for start in range(0, len(members), ROWS_AT_A_TIME):
        part = members[start : start + ROWS_AT_A_TIME]
        among = block @ vectors[part].T
        best = among.argmax(axis=1)
        reached = among[np.arange(len(best)), best]
        better = reached > cosines[asking]
        nearest[asking[better]] = part[best[better]]
        cosines[asking[better]] = reached[better]
