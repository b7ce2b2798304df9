"""Clusters by density: HDBSCAN (Campello, Moulavi and Sander, 2013).

In: a connected graph of distances to nearest neighbours. Out: the cluster of each point, or none. The spanning tree is
that of the graph, not of all pairs of points, which is what makes it fast; `docs/cluster.md` says how close it comes.

Points at no distance of each other are one place, however many they are. HDBSCAN does not know that: it joins them in
any order, and may take halves of them for clusters. Nor does it ever take a whole set for one cluster, which it is
where all of it, or all but what belongs nowhere, is one place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from farthing.toolkit.cluster.neighbours import SAME_DISTANCE
from farthing.toolkit.optional import needed

NOISE = -1


def group(graph: Any, *, min_cluster_size: int, min_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Clusters are numbered by size, the largest first; points in none of them are `NOISE`.

    Args:
        graph: `scipy.sparse.csr_matrix` [points, points] with the distances to at least `min_samples` neighbours.
        min_samples: the distance to the so-manieth neighbour is a point's own density; more make more noise.

    Returns:
        cluster int32 [points], probability float32 [points]: how deep inside its cluster a point lies, 0 for noise.
    """
    with needed("Clustering", "cluster"):
        from fast_hdbscan import HDBSCAN
    # Without so many others no place is dense.
    if graph.shape[0] < min_cluster_size or graph.shape[0] <= min_samples:
        return np.full(graph.shape[0], NOISE, dtype=np.int32), np.zeros(graph.shape[0], dtype=np.float32)
    joined, piles = join_equal_points(mutual_reachability(graph, min_samples))
    # With 1 HDBSCAN takes distances as they are.
    found = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=1, metric="precomputed").fit(joined)
    labels, probability = found.labels_, found.probabilities_
    if (labels == NOISE).all():
        labels = np.where(np.bincount(piles)[piles] >= min_cluster_size, piles, NOISE)
        probability = labels != NOISE
    return by_size(labels), np.asarray(probability, dtype=np.float32)


def mutual_reachability(graph: Any, min_samples: int) -> Any:
    """Distances, or the farther of the two points' own `min_samples`-th neighbours: `scipy.sparse.coo_matrix`."""
    reach = graph.tocoo()
    order = np.lexsort((reach.data, reach.row))
    own = reach.data[order][graph.indptr[:-1] + min_samples - 1]
    reach.data = np.maximum(reach.data, np.maximum(own[reach.row], own[reach.col]))
    return reach


def join_equal_points(reach: Any) -> tuple[Any, np.ndarray]:
    """The graph with, of all edges between points at no distance of each other, those to the first of them alone.

    So they join one after another, and no tree of the graph has two halves of them. They are set `SAME_DISTANCE`
    apart, for densities to be finite.

    Args:
        reach: `scipy.sparse.coo_matrix` [points, points].

    Returns:
        the graph as a `scipy.sparse.csr_matrix`, and which points are equal: int [points], a number for each place.
    """
    with needed("Clustering", "cluster"):
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components
    same = reach.data <= SAME_DISTANCE
    ends = (reach.row[same], reach.col[same])
    _, piles = connected_components(coo_matrix((np.ones(len(ends[0])), ends), shape=reach.shape), directed=False)
    firsts = np.unique(piles, return_index=True)[1][piles]
    others = np.flatnonzero(firsts != np.arange(len(firsts)))
    kept = piles[reach.row] != piles[reach.col]
    rows, columns = (
        np.concatenate((old[kept], new)).astype(np.int32)
        for old, new in ((reach.row, firsts[others]), (reach.col, others))
    )
    distances = np.concatenate((reach.data[kept], np.full(len(others), SAME_DISTANCE, dtype=reach.data.dtype)))
    return coo_matrix((distances, (rows, columns)), shape=reach.shape).tocsr(), piles


def by_size(labels: np.ndarray) -> np.ndarray:
    """The same clusters, int32, numbered from the largest down; of equal ones the one of the earlier point first."""
    clusters, firsts, sizes = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    number = np.full(int(labels.max(initial=NOISE)) + 2, NOISE, dtype=np.int32)  # its last entry is that of noise
    number[clusters[np.lexsort((firsts, -sizes))]] = np.arange(len(clusters))
    return np.asarray(number[labels])
