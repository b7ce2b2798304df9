"""Finds the clusters of a set of texts, from vectors to labels.

In: texts and their vectors, in memory or in a mapped file. Out: a `Clustering`: the cluster, the probability and the
place on a map of each text, and each cluster's label and central texts. This module neither makes vectors nor writes
files.

First `reduce` shortens the vectors to their principal components, which keep as much of the differences as so few
numbers can. This saves time, and it makes density mean something: in many dimensions all points are about equally far
from each other.

Then `group` finds clusters by density, with HDBSCAN (Campello, Moulavi and Sander, 2013), in a connected graph of
distances to nearest neighbours. HDBSCAN's spanning tree is made from this graph, not from all pairs of points, which is
what makes it fast; `docs/cluster.md` says how close the result comes.

Points with no distance between them are one place, however many they are. HDBSCAN does not know that: it joins them in
any order, and may take halves of them for clusters. It also never takes a whole set for one cluster, although a set
should be one if its points, apart from noise, are all in one place. `group` handles both cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError
from farthing.toolkit.cluster.labels import characteristic_terms
from farthing.toolkit.cluster.map import UMAP_NEIGHBOURS, choose_layout, lay_out
from farthing.toolkit.cluster.neighbours import SAME_DISTANCE, connected_graph, find_neighbours
from farthing.toolkit.cluster.scripts import without_writing, writings_of
from farthing.toolkit.optional import needed

NUM_CENTRAL = 5
LABEL_CHARS = 60
NOISE = -1


@dataclass(frozen=True)
class Reduced:
    """Vectors that were shortened to their principal components.

    Attributes:
        points: float32 [vectors, components], centred, with the most important component first.
        variance_kept: share of the vectors' variance that the components hold, 0 to 1.
    """

    points: np.ndarray
    variance_kept: float


def reduce(vectors: np.ndarray, max_components: int, seed: int) -> Reduced:
    """Shorten vectors to their principal components.

    Args:
        vectors: float [vectors, dimensions], at least two.
        seed: for the randomised decomposition, which is used where it is faster than an exact one.
    """
    with needed("Clustering", "cluster"):
        from sklearn.decomposition import PCA
    pca = PCA(min(max_components, *vectors.shape), random_state=seed)
    # Vectors that are all equal have no variance, so sklearn's shares of it are NaN.
    with np.errstate(invalid="ignore"):
        points = pca.fit_transform(np.asarray(vectors, dtype=np.float32))
    kept = float(np.nan_to_num(pca.explained_variance_ratio_.sum(), nan=1.0))
    return Reduced(np.ascontiguousarray(points, dtype=np.float32), kept)


def group(graph: Any, *, min_cluster_size: int, min_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Find clusters by density. They are numbered by size, the largest first; points in no cluster are `NOISE`.

    Args:
        graph: `scipy.sparse.csr_matrix` [points, points] with the distances to at least `min_samples` neighbours.
        min_samples: the density at a point is measured by the distance to its neighbour of this rank; more make more
            noise.

    Returns:
        cluster int32 [points], probability float32 [points]: how deep inside its cluster a point lies, 0 for noise.
    """
    with needed("Clustering", "cluster"):
        from fast_hdbscan import HDBSCAN
    # With fewer points no place is dense.
    if graph.shape[0] < min_cluster_size or graph.shape[0] <= min_samples:
        return np.full(graph.shape[0], NOISE, dtype=np.int32), np.zeros(graph.shape[0], dtype=np.float32)
    joined, piles = join_equal_points(mutual_reachability(graph, min_samples))
    # With min_samples 1 HDBSCAN takes distances as they are.
    found = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=1, metric="precomputed").fit(joined)
    labels, probability = found.labels_, found.probabilities_
    if (labels == NOISE).all():
        labels = np.where(np.bincount(piles)[piles] >= min_cluster_size, piles, NOISE)
        probability = labels != NOISE
    return by_size(labels), np.asarray(probability, dtype=np.float32)


def mutual_reachability(graph: Any, min_samples: int) -> Any:
    """Return mutual reachabilities as a `scipy.sparse.coo_matrix`.

    For two points that is their distance, or the distance of either one to its `min_samples`-th neighbour, whichever is
    largest.
    """
    reach = graph.tocoo()
    order = np.lexsort((reach.data, reach.row))
    own = reach.data[order][graph.indptr[:-1] + min_samples - 1]
    reach.data = np.maximum(reach.data, np.maximum(own[reach.row], own[reach.col]))
    return reach


def join_equal_points(reach: Any) -> tuple[Any, np.ndarray]:
    """Replace all edges between equal points with edges to the first of them.

    So equal points join one after another, and no tree of the graph splits them into two halves. Their edges get the
    length `SAME_DISTANCE`, so that densities are finite.

    Args:
        reach: `scipy.sparse.coo_matrix` [points, points].

    Returns:
        the graph as a `scipy.sparse.csr_matrix`, and the place of each point: int [points], the same for equal points.
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
    """Return the same clusters numbered by size, int32, the largest first; of equal sizes, by their first point."""
    clusters, firsts, sizes = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    number = np.full(int(labels.max(initial=NOISE)) + 2, NOISE, dtype=np.int32)  # the last entry is for noise
    number[clusters[np.lexsort((firsts, -sizes))]] = np.arange(len(clusters))
    return np.asarray(number[labels])


@dataclass(frozen=True)
class Cluster:
    """
    Attributes:
        number: 0 for the largest.
        label: the terms, or the beginning of the most central text where no terms were found.
        size: number of texts.
        terms: the most characteristic first, spelled as in the texts.
        central: indices of the texts nearest to the mean, the nearest first; no text appears twice.
    """

    number: int
    label: str
    size: int
    terms: Sequence[str]
    central: Sequence[int]


@dataclass(frozen=True)
class Clustering:
    """
    Attributes:
        cluster: number of each text's cluster, -1 for noise: int32 [texts].
        probability: how deep inside its cluster each text lies, 0 to 1: float32 [texts].
        places: each text's place on the map: float32 [texts, 2].
        layout: how the map was drawn, "umap" or "pca".
        clusters: in the order of their numbers.
        variance_kept: share of the vectors' variance that the reduced vectors kept.
    """

    cluster: np.ndarray
    probability: np.ndarray
    places: np.ndarray
    layout: str
    clusters: Sequence[Cluster]
    variance_kept: float

    @property
    def num_noise(self) -> int:
        """The number of texts that belong to no cluster."""
        return int((self.cluster == NOISE).sum())


def cluster(
    vectors: np.ndarray,
    texts: Sequence[str],
    *,
    min_cluster_size: int = 5,
    min_samples: int = 1,
    max_components: int = 128,
    across_scripts: bool = True,
    layout: str = "auto",
    seed: int = 0,
    show_progress: bool = False,
) -> Clustering:
    """Find clusters of texts, name them, and draw them. The same arguments give the same result.

    Args:
        vectors: of length 1: float32 [texts, dimensions]; may be a mapped file.
        min_cluster_size: the fewest texts that make a cluster; at least 2.
        min_samples: neighbours that must be near for a place to count as dense; at least 1. More make fewer and surer
            clusters, and more noise.
        max_components: the most principal components that are kept.
        across_scripts: centre the vectors of each script separately, so that texts of several languages meet.
        layout: "umap", "pca", or "auto" to go by the number of texts.

    Raises:
        InputError: there are fewer than two texts, or not as many vectors as texts.
        MissingExtraError: a library is not installed.
    """
    if len(texts) < 2 or len(texts) != len(vectors):
        raise InputError(
            f"Clusters are made of at least two texts with a vector each; there are {len(texts):,} texts and "
            f"{len(vectors):,} vectors.",
            param="input",
        )
    num_neighbours = max(UMAP_NEIGHBOURS, min_samples)
    drawn = choose_layout(layout, len(texts))
    with tqdm(total=5, unit=" steps", disable=not show_progress, dynamic_ncols=True) as bar:
        bar.set_description("Components")
        writings = writings_of(texts)
        reduced = reduce(without_writing(vectors, writings) if across_scripts else vectors, max_components, seed)
        begin(bar, "Neighbours")
        neighbours = find_neighbours(reduced.points, num_neighbours)
        begin(bar, "Clusters")
        graph = connected_graph(reduced.points, neighbours)
        numbers, probability = group(graph, min_cluster_size=min_cluster_size, min_samples=min_samples)
        begin(bar, "Map")
        places = lay_out(reduced.points, neighbours, drawn, seed)
        begin(bar, "Labels")
        terms = characteristic_terms(texts, numbers, writings)
        begin(bar, "Done")
    clusters = [
        describe(number, found, np.flatnonzero(numbers == number), reduced.points, texts)
        for number, found in enumerate(terms)
    ]
    return Clustering(numbers, probability, places, drawn, clusters, reduced.variance_kept)


def begin(bar: Any, step: str) -> None:
    """Count the step that has ended, and show the name of the step that begins."""
    bar.update()
    bar.set_description(step)


def describe(
    number: int, terms: Sequence[str], members: np.ndarray, points: np.ndarray, texts: Sequence[str]
) -> Cluster:
    """Make the `Cluster` of a number: its label, and its central texts.

    Args:
        members: indices of the cluster's texts.
        points: float32 [texts, components].
    """
    distances = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
    nearest = members[np.argsort(distances, kind="stable")]
    # Of equal texts only the nearest counts; a text that is there many times would hide the others.
    central = list({texts[index]: int(index) for index in reversed(nearest)}.values())[::-1][:NUM_CENTRAL]
    label = ", ".join(terms) or " ".join(texts[central[0]].split())[:LABEL_CHARS]
    return Cluster(number, label, len(members), terms, central)
