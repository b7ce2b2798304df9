"""Which texts are near each other: exact nearest neighbours, and a graph of them.

In: vectors. Out: `Neighbours`, from which the map is drawn, and a connected graph of distances, in which clusters are
found. All distances are Euclidean. The neighbours are exact; the graph is fast because it holds only some of all pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from farthing.core.deferred import dataclass
from farthing.toolkit.optional import needed

# Vectors of one text from two batches (cosine 0.999999) are this far apart; points no farther apart count as the same.
SAME_DISTANCE = 0.0015
# Rows and columns of a block of distances: 4 MiB, which stays in a core's cache.
BLOCK_ROWS, BLOCK_COLUMNS = 256, 4096


@dataclass(frozen=True)
class Neighbours:
    """
    Attributes:
        indices: int32 [points, k], the nearest first, without the point itself.
        distances: float32 [points, k].
    """

    indices: np.ndarray
    distances: np.ndarray


def find_neighbours(points: np.ndarray, k: int) -> Neighbours:
    """Find the `k` nearest other points of each point (all of them if there are fewer) by comparing all pairs.

    Args:
        points: float32 [points, dimensions], at least two.
    """
    with needed("Clustering", "cluster"):
        from sklearn.neighbors import NearestNeighbors
    search = NearestNeighbors(n_neighbors=min(k, len(points) - 1), algorithm="brute", n_jobs=-1).fit(points)
    distances, indices = search.kneighbors()
    return Neighbours(indices.astype(np.int32), distances.astype(np.float32))


def connected_graph(points: np.ndarray, neighbours: Neighbours) -> Any:
    """Return the distances to the neighbours as a connected graph: a `scipy.sparse.csr_matrix` [points, points].

    Where no neighbour leads out of a part of the graph, every point of the part gets an edge to the nearest point
    outside of it. The distance of two points that are not neighbours is also their mutual reachability, as long as `k`
    is at least HDBSCAN's `min_samples`. So the shortest edge out of a part is one that HDBSCAN's spanning tree has.
    Joins between groups of parts may be somewhat longer than the shortest.
    """
    with needed("Clustering", "cluster"):
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components
    num_points, k = neighbours.indices.shape
    rows = np.repeat(np.arange(num_points, dtype=np.int32), k)
    columns, distances = neighbours.indices.ravel(), neighbours.distances.ravel()
    more_rows, more_columns = edges_inside(points, neighbours)
    while True:
        more_distances = np.linalg.norm(points[more_rows] - points[more_columns], axis=1).astype(np.float32)
        rows, columns = np.concatenate((rows, more_rows)), np.concatenate((columns, more_columns))
        distances = np.concatenate((distances, more_distances))
        graph = coo_matrix((distances, (rows, columns)), shape=(num_points, num_points)).tocsr()
        num_parts, parts = connected_components(graph, directed=False)
        if num_parts == 1:
            return graph
        more_rows, more_columns = edges_out(points, parts)


def edges_inside(points: np.ndarray, neighbours: Neighbours) -> tuple[np.ndarray, np.ndarray]:
    """Return edges that connect all points of the same place without a detour: int32 rows, columns.

    They are needed where more than `k` points are at one place: some of these may have only each other as neighbours.
    """
    with needed("Clustering", "cluster"):
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components
    num_points, k = neighbours.indices.shape
    ends, places = np.nonzero(neighbours.distances <= SAME_DISTANCE)
    rows, columns = ends.astype(np.int32), neighbours.indices[ends, places]
    known = len(rows)
    while True:
        same = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(num_points, num_points))
        _, parts = connected_components(same, directed=False)
        firsts = np.unique(parts, return_index=True)[1][np.bincount(parts) > k].astype(np.int32)
        if len(firsts) < 2:
            break
        near = find_neighbours(points[firsts], k)
        ends, places = np.nonzero(near.distances <= SAME_DISTANCE)
        if not len(ends):
            break
        rows = np.concatenate((rows, firsts[ends]))
        columns = np.concatenate((columns, firsts[near.indices[ends, places]]))
    return rows[known:], columns[known:]


def edges_out(points: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return edges from each point to the nearest point of another part: int32 rows, columns.

    Points of the largest part get none.

    Args:
        parts: int [points], the part that each point belongs to, numbered from 0.
    """
    # Points are sorted by part, so that the points outside of a part are those before and behind it.
    order = np.argsort(parts, kind="stable").astype(np.int32)
    # |a - b|^2 = |a|^2 - 2 (a.b - |b|^2 / 2): with one more component, the nearest b has the largest product.
    laid = points[order]
    others = np.column_stack((laid, np.einsum("ij,ij->i", laid, laid) / -2))
    asking = np.column_stack((laid, np.ones(len(laid), dtype=np.float32)))
    sizes = np.bincount(parts)
    ends = np.cumsum(sizes)
    rows, columns = [], []
    for part in np.flatnonzero(np.arange(len(sizes)) != sizes.argmax()):
        start, end = int(ends[part] - sizes[part]), int(ends[part])
        for first in range(start, end, BLOCK_ROWS):
            last = min(first + BLOCK_ROWS, end)
            rows.append(order[first:last])
            columns.append(order[nearest_outside(asking[first:last], others, start, end)])
    return np.concatenate(rows), np.concatenate(columns)


def nearest_outside(asking: np.ndarray, others: np.ndarray, start: int, end: int) -> np.ndarray:
    """Return for each row of `asking` the row of `others` outside of `start:end` with the largest product: int64."""
    largest = np.full(len(asking), -np.inf, dtype=np.float32)
    found = np.zeros(len(asking), dtype=np.int64)
    for low, high in ((0, start), (end, len(others))):
        for first in range(low, high, BLOCK_COLUMNS):
            products = asking @ others[first : min(first + BLOCK_COLUMNS, high)].T
            best = products.argmax(axis=1)
            product = products[np.arange(len(best)), best]
            better = product > largest
            largest[better], found[better] = product[better], best[better] + first
    return found
