"""Where each text is drawn: a map in two dimensions.

In: points and their nearest neighbours. Out: a place for each. UMAP (McInnes, Healy and Melville, 2018) keeps
neighbours together and says nothing of distances between clusters; principal components keep the large distances and
let clusters overlap, but cost next to nothing.
"""

from __future__ import annotations

import warnings

import numpy as np

from farthing.toolkit.cluster.neighbours import Neighbours
from farthing.toolkit.optional import needed

# Fewer points than UMAP wants neighbours; and more than it lays out in some minutes.
UMAP_MIN_POINTS, UMAP_MAX_POINTS = 32, 250_000
UMAP_NEIGHBOURS = 15
PROCESS_BYTES, POINT_BYTES = {"umap": 450 * 2**20, "pca": 365 * 2**20}, 13 * 1024


def choose_layout(asked: str, num_points: int) -> str:
    """ "umap" or "pca": as asked, or what the number of points allows."""
    if num_points < UMAP_MIN_POINTS:
        return "pca"
    if asked == "auto":
        return "umap" if num_points <= UMAP_MAX_POINTS else "pca"
    return asked


def process_bytes(num_points: int, layout: str) -> int:
    """What a process holds at most that clusters so many texts of some hundred characters and lays them out so.

    Measured by /proc, with libraries and what numba compiles (docs/log.md).
    """
    return PROCESS_BYTES[layout] + POINT_BYTES * num_points


def lay_out(points: np.ndarray, neighbours: Neighbours, layout: str, seed: int) -> np.ndarray:
    """Places on the map: float32 [points, 2].

    Args:
        points: float32 [points, components], principal ones first.
        neighbours: at least `UMAP_NEIGHBOURS - 1` of each point, for "umap".
        seed: UMAP runs on one core, since only so the same seed gives the same map.
    """
    flat = np.zeros((len(points), 2), dtype=np.float32)
    flat[:, : points.shape[1]] = points[:, :2]
    if layout == "pca":
        return flat
    with needed("Clustering", "cluster"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # UMAP says that a part of it that is not used here needs more
        from umap import UMAP
    # UMAP counts a point as its own first neighbour.
    own = np.arange(len(points), dtype=np.int32)[:, None]
    indices = np.concatenate((own, neighbours.indices[:, : UMAP_NEIGHBOURS - 1]), axis=1)
    distances = np.pad(neighbours.distances[:, : UMAP_NEIGHBOURS - 1], ((0, 0), (1, 0)))
    init = 10 * flat / max(float(np.abs(flat).max()), 1e-12)
    # UMAP divides by the extent of each axis, and points in one place or on one line have none.
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
        # Places of texts that come later would need an index of neighbours; there are none here.
        warnings.filterwarnings("ignore", "precomputed_knn.* is not an NNDescent object", UserWarning)
        return np.asarray(umap.fit_transform(points), dtype=np.float32)
