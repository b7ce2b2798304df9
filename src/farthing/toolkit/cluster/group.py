"""Clusters by density: HDBSCAN (Campello, Moulavi and Sander, 2013).

In: a connected graph of distances to nearest neighbours. Out: the cluster of each point, or none. The spanning tree is
that of the graph, not of all pairs of points, which is what makes it fast; `docs/cluster.md` says how close it comes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from farthing.toolkit.extra import needed

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
    if graph.shape[0] < min_cluster_size:
        return np.full(graph.shape[0], NOISE, dtype=np.int32), np.zeros(graph.shape[0], dtype=np.float32)
    found = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=min_samples, metric="precomputed").fit(graph)
    return by_size(found.labels_), np.asarray(found.probabilities_, dtype=np.float32)


def by_size(labels: np.ndarray) -> np.ndarray:
    """The same clusters, int32, numbered from the largest down; of equal ones the one of the earlier point first."""
    clusters, firsts, sizes = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    number = np.full(int(labels.max(initial=NOISE)) + 2, NOISE, dtype=np.int32)  # its last entry is that of noise
    number[clusters[np.lexsort((firsts, -sizes))]] = np.arange(len(clusters))
    return np.asarray(number[labels])
