"""Where each text is drawn: a map in two dimensions.

In: points and their nearest neighbours. Out: a place for each point. UMAP (McInnes, Healy and Melville, 2018) keeps
neighbours together, but its distances between clusters mean nothing. Principal components keep the large distances and
cost next to nothing, but let clusters overlap.
"""

from __future__ import annotations

import warnings

import numpy as np

from farthing.toolkit.cluster.neighbours import Neighbours
from farthing.toolkit.optional import needed

# Fewer points have fewer neighbours than UMAP wants; more points take UMAP longer than some minutes.
UMAP_MIN_POINTS, UMAP_MAX_POINTS = 32, 250_000
UMAP_NEIGHBOURS = 15
PROCESS_BYTES, POINT_BYTES = {"umap": 450 * 2**20, "pca": 365 * 2**20}, 13 * 1024


def choose_layout(asked: str, num_points: int) -> str:
    """Return "umap" or "pca": the layout that was asked for, or the one that the number of points allows."""
    if num_points < UMAP_MIN_POINTS:
        return "pca"
    if asked == "auto":
        return "umap" if num_points <= UMAP_MAX_POINTS else "pca"
    return asked


def process_bytes(num_points: int, layout: str) -> int:
    """Return the most memory that a process needs to cluster and lay out so many texts of some hundred characters.

    The numbers were measured by /proc, with libraries and the code that numba compiles (docs/log.md).
    """
    return PROCESS_BYTES[layout] + POINT_BYTES * num_points


def lay_out(points: np.ndarray, neighbours: Neighbours, layout: str, seed: int) -> np.ndarray:
    """Return the points' places on the map: float32 [points, 2].

    Args:
        points: float32 [points, components], the most important component first.
        neighbours: at least `UMAP_NEIGHBOURS - 1` of each point, for "umap".
        seed: for UMAP, which runs on one core, because only then does the same seed give the same map.
    """
    flat = np.zeros((len(points), 2), dtype=np.float32)
    flat[:, : points.shape[1]] = points[:, :2]
    if layout == "pca":
        return flat
    with needed("Clustering", "cluster"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # about a package for a part of UMAP that is not used here
        from umap import UMAP
    # UMAP counts a point as its own first neighbour.
    own = np.arange(len(points), dtype=np.int32)[:, None]
    indices = np.concatenate((own, neighbours.indices[:, : UMAP_NEIGHBOURS - 1]), axis=1)
    distances = np.pad(neighbours.distances[:, : UMAP_NEIGHBOURS - 1], ((0, 0), (1, 0)))
    init = 10 * flat / max(float(np.abs(flat).max()), 1e-12)
    # UMAP divides by the extent of each axis, which is zero for points in one place or on one line.
    without = np.ptp(init, axis=0) == 0
    init[:, without] = np.random.default_rng(seed).standard_normal((len(points), int(without.sum())))
    umap = UMAP(
        n_neighbors=UMAP_NEIGHBOURS,
        precomputed_knn=(indices, distances.astype(np.float32)),
        init=init,
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        # Only placing later texts would need an index of neighbours, and there are no later texts here.
        warnings.filterwarnings("ignore", "precomputed_knn.* is not an NNDescent object", UserWarning)
        return np.asarray(umap.fit_transform(points), dtype=np.float32)
