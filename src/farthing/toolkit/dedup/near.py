"""Near duplicates: for each row, in the order in which rows are preferred, the nearest of the rows kept before it.

In: unit vectors and the order. Out: for each row the nearest kept row, the distance to it, and whether the row is
dropped, which it is when that distance is within the threshold. So a dropped row is always near to the kept row that it
names (groups are stars around the kept rows), and a chain of small steps never drops a row that is far from every kept
one. Apart from the vectors, memory holds one block of rows compared with each other and a few numbers for each row,
however many rows repeat each other: pairs are never listed.

The nearest kept row is found in one of two ways: by comparing with all kept rows (`Exhaustive`), or only with those in
the nearest partitions (`Partitions`, an inverted file: Jegou, Douze, Schmid 2011, "Product Quantization for Nearest
Neighbor Search", section IV). Neither way copies all vectors; they may stay in a mapped file.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.progress import progress_bar

# Rows that are settled together; they are compared with each other directly.
BLOCK_ROWS = 2048
# Up to this many rows, every row is compared with all kept rows; beyond, only with those in the nearest partitions.
EXHAUSTIVE_ROWS = 50_000
# Partitions that are searched for each row. 8 find 99.98% of all pairs within 0.35 (benchmarks/dedup_scale.py).
NUM_PROBED = 8
# By how much fp32, and lengths that are not quite 1 (1e-3), may put cosines off; rows this close are compared exactly.
COSINE_SLACK = 3e-3
# Kept rows that are compared with a block of new rows at a time.
ROWS_AT_A_TIME = 4096


class Kept(Protocol):
    def nearest(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest kept row (int64, -1 for none) and its cosine for each of `block` [rows, dimensions]."""
        ...

    def add(self, rows: np.ndarray, block: np.ndarray) -> None:
        """Keep `rows` (int64), whose vectors are `block`."""
        ...


class Exhaustive:
    """Compares new rows with every kept row."""

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
    """Compares new rows with the kept rows of the partitions whose pivots are nearest.

    Args:
        pivots: unit vectors, float32 [partitions, dimensions]; a kept row belongs to the nearest pivot's partition.
        num_probed: how many partitions are searched.
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
        """Return the partitions to search for each row: int64 [rows, probed], in no particular order."""
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
    """Update `found` where one of `members` is nearer. `block` has the vectors of the rows at the places `asking`."""
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
        nearest: int64 [rows], the nearest row that was kept before this one; -1 where there is none.
        distances: float32 [rows], Euclidean, to the row in `nearest`; NaN where there is none.
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
    """Find rows that are near to a row before them in `order`.

    Args:
        vectors: of length 1, float32 [rows, dimensions].
        order: int64, the rows to compare, preferred rows first; rows that are not in it are left out.
        threshold: greatest Euclidean distance between a dropped row and the kept one.
        exhaustive: compare with all kept rows; None to do so up to `EXHAUSTIVE_ROWS`.
    """
    near = nothing_near(len(vectors))
    kept = open_kept(vectors, order, threshold, exhaustive)
    with progress_bar(len(order), shown=show_progress, desc="Comparing", unit=" texts", dynamic_ncols=True) as bar:
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
    """As `near_duplicates`, but compare `rows` of `vectors` with `other_rows` of `others`, not with each other.

    All of `other_rows` count as kept, and `nearest` has rows of `others`.
    """
    near = nothing_near(len(vectors))
    kept = open_kept(others, other_rows, threshold, exhaustive)
    for start in range(0, len(other_rows), BLOCK_ROWS):
        part = other_rows[start : start + BLOCK_ROWS]
        kept.add(part, others[part])
    with progress_bar(len(rows), shown=show_progress, desc="Comparing", unit=" texts", dynamic_ncols=True) as bar:
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            block = vectors[part]
            nearest, _ = kept.nearest(block)
            put(near, part, nearest, distances_to(block, others, nearest), threshold)
            bar.update(len(part))
    return near


def open_kept(vectors: np.ndarray, order: np.ndarray, threshold: float, exhaustive: bool | None) -> Kept:
    """Return an empty index for the rows of `order`."""
    if exhaustive or (exhaustive is None and len(order) <= EXHAUSTIVE_ROWS):
        return Exhaustive(vectors)
    return Partitions(vectors, choose_pivots(vectors, order, threshold), NUM_PROBED)


def choose_pivots(vectors: np.ndarray, order: np.ndarray, threshold: float) -> np.ndarray:
    """Return the vectors of rows at even steps of the order.

    Near duplicates are left out: a crowd of them would get many pivots, while its one kept row is in the partition of
    only one of these.
    """
    num_sampled = min(len(order), round(2 * len(order) ** 0.5))
    sample = order[np.linspace(0, len(order) - 1, num_sampled, dtype=np.int64)]
    dropped = near_duplicates(vectors, sample, threshold, exhaustive=True).dropped
    return np.asarray(vectors[sample[~dropped[sample]]])


def settle(near: Near, kept: Kept, rows: np.ndarray, block: np.ndarray, vectors: np.ndarray, threshold: float) -> None:
    """Decide which of `rows`, whose vectors are `block`, are dropped.

    They are compared with the rows kept before, then with each other.
    """
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
    """Take out of `keeps` the rows that are near to an earlier row in it. `among` has the cosines of the block."""
    close = np.tril(among >= 1 - threshold**2 / 2 - COSINE_SLACK, k=-1) & keeps
    for row in np.flatnonzero(close.any(axis=1) & keeps):
        earlier = np.flatnonzero(close[row] & keeps)
        if len(earlier):
            closest = earlier[among[row, earlier].argmax()]
            keeps[row] = np.linalg.norm(block[row] - block[closest]) > threshold


def distances_to(block: np.ndarray, vectors: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances of the block's rows to the rows `nearest` of `vectors`, NaN for -1.

    Computed directly, they lack the rounding errors of 1 - cosine.
    """
    distances: np.ndarray = np.linalg.norm(block - vectors[nearest], axis=1)
    distances[nearest < 0] = np.nan
    return distances


def nothing_near(count: int) -> Near:
    return Near(np.full(count, -1), np.full(count, np.nan, dtype=np.float32), np.zeros(count, dtype=bool))


def put(near: Near, rows: np.ndarray, nearest: np.ndarray, distances: np.ndarray, threshold: float) -> None:
    near.nearest[rows], near.distances[rows] = nearest, distances
    near.dropped[rows] = distances <= threshold
