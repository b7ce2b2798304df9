"""Clusters of a set of texts: the steps put together.

In: texts and their vectors. Out: a `Clustering`: the cluster, the probability and the place on a map of each text, and
each cluster's label and central texts. It neither makes vectors nor writes files.

Vectors made shorter before they are compared: principal components.

In: vectors, of memory or of a mapped file. Out: fewer numbers a vector, that keep as much of the differences as so
many can. It is done for time and for density: in many dimensions all points are about equally far from each other.

Clusters by density: HDBSCAN (Campello, Moulavi and Sander, 2013).

In: a connected graph of distances to nearest neighbours. Out: the cluster of each point, or none. The spanning tree is
that of the graph, not of all pairs of points, which is what makes it fast; `docs/cluster.md` says how close it comes.

Points at no distance of each other are one place, however many they are. HDBSCAN does not know that: it joins them in
any order, and may take halves of them for clusters. Nor does it ever take a whole set for one cluster, which it is
where all of it, or all but what belongs nowhere, is one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

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


@dataclass(frozen=True)
class Cluster:
    """
    Attributes:
        number: 0 for the largest.
        label: its terms, or the beginning of its most central text where no terms were found.
        size: number of texts.
        terms: the most characteristic first, as they are written.
        central: indices of the texts nearest to the mean, the nearest first; none of them twice.
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
        probability: how deep inside its cluster it lies, 0 to 1: float32 [texts].
        places: on the map: float32 [texts, 2].
        layout: how the map was drawn, "umap" or "pca".
        clusters: by number.
        variance_kept: share of the vectors' variance that was left for clustering.
    """

    cluster: np.ndarray
    probability: np.ndarray
    places: np.ndarray
    layout: str
    clusters: Sequence[Cluster]
    variance_kept: float

    @property
    def num_noise(self) -> int:
        """Texts that belong to no cluster."""
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
        min_cluster_size: fewer texts are no cluster; 2 and more.
        min_samples: neighbours that must be near for a place to count as dense; 1 and more. More make fewer clusters,
            surer ones, and more noise.
        max_components: principal components that are kept.
        across_scripts: centre the vectors of each script by themselves, so that texts of several languages meet.
        layout: "umap", "pca", or "auto" to go by the number of texts.

    Raises:
        InputError: there are not at least two texts, or not as many vectors as texts.
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
    """Move the bar past the step before, and name the one that begins."""
    bar.update()
    bar.set_description(step)


def describe(
    number: int, terms: Sequence[str], members: np.ndarray, points: np.ndarray, texts: Sequence[str]
) -> Cluster:
    """
    Args:
        members: indices of the cluster's texts.
        points: float32 [texts, components].
    """
    distances = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
    nearest = members[np.argsort(distances, kind="stable")]
    # Of equal texts the nearest; one text many times over would hide the others.
    central = list({texts[index]: int(index) for index in reversed(nearest)}.values())[::-1][:NUM_CENTRAL]
    label = ", ".join(terms) or " ".join(texts[central[0]].split())[:LABEL_CHARS]
    return Cluster(number, label, len(members), terms, central)
