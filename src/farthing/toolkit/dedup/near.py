"""Near duplicates: for each row, in the order in which rows are preferred, the nearest of those kept before it.

In: unit vectors and the order. Out: for each row its nearest kept one, the distance, and whether it is dropped: when
that distance is within the threshold. So a dropped row is always near to the kept one it names (groups are stars around
what is kept), and a chain of small steps never drops what is far from everything kept. Beside the vectors a block of
rows against each other is held and a few numbers a row, however many repeat each other: pairs are never listed.

Rows that are kept so far, and which of them is nearest to a row that comes.

In: unit vectors of all records, and numbers of rows that were kept. Out: for new rows the nearest kept one and the
cosine. Two ways: all of them are looked at (`Exhaustive`), or those of the nearest partitions (`Partitions`, as an
inverted file does it: Jegou, Douze, Schmid 2011, "Product Quantization for Nearest Neighbor Search", section IV).
Neither copies vectors: they stay where they are, also in a mapped file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tqdm import tqdm

# Rows that are settled together; they are compared with each other directly.
BLOCK_ROWS = 2048
# Up to so many rows all are compared with all; beyond, only with those of the nearest partitions.
EXHAUSTIVE_ROWS = 50_000
# Partitions that are looked into for a row: of all pairs within 0.35 that finds 99.98% (benchmarks/dedup_scale.py).
NUM_PROBED = 8
# Cosines that fp32 and vectors of almost length 1 (1e-3) may be off by; what is this close is looked at exactly.
COSINE_SLACK = 3e-3
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


@dataclass(frozen=True)
class Near:
    """
    Attributes:
        nearest: int64 [rows], the nearest row kept before this one; -1 where there is none.
        distances: float32 [rows], Euclidean, to that row; NaN where there is none.
        dropped: bool [rows].
    """

    nearest: np.ndarray
    distances: np.ndarray
    dropped: np.ndarray


def near_duplicates(
    vectors: np.ndarray,
    order: np.ndarray,
    threshold: float,
    *,
    exhaustive: bool | None = None,
    show_progress: bool = False,
) -> Near:
    """
    Args:
        vectors: of length 1, float32 [rows, dimensions].
        order: int64, the rows to compare, those that are rather kept first; the others are left out.
        threshold: greatest Euclidean distance of a row that is dropped from the one that is kept.
        exhaustive: compare with all kept rows; None to do so up to `EXHAUSTIVE_ROWS`.
    """
    near = nothing_near(len(vectors))
    kept = open_kept(vectors, order, threshold, exhaustive)
    with tqdm(total=len(order), desc="Comparing", unit=" texts", disable=not show_progress, dynamic_ncols=True) as bar:
        for start in range(0, len(order), BLOCK_ROWS):
            rows = order[start : start + BLOCK_ROWS]
            block = vectors[rows]
            settle(near, kept, rows, block, vectors, threshold)
            keeps = ~near.dropped[rows]
            kept.add(rows[keeps], block[keeps])
            bar.update(len(rows))
    return near


def near_duplicates_of(
    vectors: np.ndarray,
    rows: np.ndarray,
    others: np.ndarray,
    other_rows: np.ndarray,
    threshold: float,
    *,
    exhaustive: bool | None = None,
    show_progress: bool = False,
) -> Near:
    """As `near_duplicates`, but `rows` of `vectors` are compared with `other_rows` of `others`, not with each other.

    `nearest` has rows of `others`; all of those count as kept.
    """
    near = nothing_near(len(vectors))
    kept = open_kept(others, other_rows, threshold, exhaustive)
    for start in range(0, len(other_rows), BLOCK_ROWS):
        part = other_rows[start : start + BLOCK_ROWS]
        kept.add(part, others[part])
    with tqdm(total=len(rows), desc="Comparing", unit=" texts", disable=not show_progress, dynamic_ncols=True) as bar:
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            block = vectors[part]
            nearest, _ = kept.nearest(block)
            put(near, part, nearest, distances_to(block, others, nearest), threshold)
            bar.update(len(part))
    return near


def open_kept(vectors: np.ndarray, order: np.ndarray, threshold: float, exhaustive: bool | None) -> Kept:
    """An empty index for the rows of `order`."""
    if exhaustive or (exhaustive is None and len(order) <= EXHAUSTIVE_ROWS):
        return Exhaustive(vectors)
    return Partitions(vectors, choose_pivots(vectors, order, threshold), NUM_PROBED)


def choose_pivots(vectors: np.ndarray, order: np.ndarray, threshold: float) -> np.ndarray:
    """Vectors of rows at even steps of the order.

    Near duplicates are left out: a crowd of them would have many pivots, and its one kept row would be in one of these.
    """
    num_sampled = min(len(order), round(2 * len(order) ** 0.5))
    sample = order[np.linspace(0, len(order) - 1, num_sampled, dtype=np.int64)]
    dropped = near_duplicates(vectors, sample, threshold, exhaustive=True).dropped
    return np.asarray(vectors[sample[~dropped[sample]]])


def settle(near: Near, kept: Kept, rows: np.ndarray, block: np.ndarray, vectors: np.ndarray, threshold: float) -> None:
    """Decide `rows`, whose vectors `block` has: against those kept before, then against each other."""
    nearest, _ = kept.nearest(block)
    distances = distances_to(block, vectors, nearest)
    among = block @ block.T
    keeps = ~(distances <= threshold)
    drop_among(keeps, among, block, threshold)
    among[~(np.tri(len(rows), k=-1, dtype=bool) & keeps)] = -2
    best = among.argmax(axis=1)
    inner = np.where(among[np.arange(len(rows)), best] > -2, rows[best], -1)
    inner_distances = distances_to(block, vectors, inner)
    nearer = ~(inner_distances >= distances) & (inner >= 0)
    put(near, rows, np.where(nearer, inner, nearest), np.where(nearer, inner_distances, distances), threshold)


def drop_among(keeps: np.ndarray, among: np.ndarray, block: np.ndarray, threshold: float) -> None:
    """Take from `keeps` the rows that are near to an earlier one in it; `among` has the cosines of the block."""
    close = np.tril(among >= 1 - threshold**2 / 2 - COSINE_SLACK, k=-1) & keeps
    for row in np.flatnonzero(close.any(axis=1) & keeps):
        earlier = np.flatnonzero(close[row] & keeps)
        if len(earlier):
            closest = earlier[among[row, earlier].argmax()]
            keeps[row] = np.linalg.norm(block[row] - block[closest]) > threshold


def distances_to(block: np.ndarray, vectors: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Euclidean distances of the block's rows to rows of `vectors`, NaN for -1: without the rounding of 1 - cosine."""
    distances: np.ndarray = np.linalg.norm(block - vectors[nearest], axis=1)
    distances[nearest < 0] = np.nan
    return distances


def nothing_near(count: int) -> Near:
    return Near(np.full(count, -1), np.full(count, np.nan, dtype=np.float32), np.zeros(count, dtype=bool))


def put(near: Near, rows: np.ndarray, nearest: np.ndarray, distances: np.ndarray, threshold: float) -> None:
    near.nearest[rows], near.distances[rows] = nearest, distances
    near.dropped[rows] = distances <= threshold
