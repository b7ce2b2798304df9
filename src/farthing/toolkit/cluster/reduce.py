"""Vectors made shorter before they are compared: principal components.

In: vectors, of memory or of a mapped file. Out: fewer numbers a vector, that keep as much of the differences as so
many can. It is done for time and for density: in many dimensions all points are about equally far from each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from farthing.toolkit.optional import needed


@dataclass(frozen=True)
class Reduced:
    """
    Attributes:
        points: float32 [vectors, components], most important component first, centred.
        variance_kept: share of the vectors' variance that the components hold, 0 to 1.
    """

    points: np.ndarray
    variance_kept: float


def reduce(vectors: np.ndarray, max_components: int, seed: int) -> Reduced:
    """
    Args:
        vectors: float [vectors, dimensions], at least two.
        seed: of the randomised decomposition, which is used where it is faster than an exact one.
    """
    with needed("Clustering", "cluster"):
        from sklearn.decomposition import PCA
    pca = PCA(min(max_components, *vectors.shape), random_state=seed)
    # Vectors that are all equal have no variance, and sklearn's shares of it are no numbers.
    with np.errstate(invalid="ignore"):
        points = pca.fit_transform(np.asarray(vectors, dtype=np.float32))
    kept = float(np.nan_to_num(pca.explained_variance_ratio_.sum(), nan=1.0))
    return Reduced(np.ascontiguousarray(points, dtype=np.float32), kept)
