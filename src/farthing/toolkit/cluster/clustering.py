"""Clusters of a set of texts: the steps put together.

In: texts and their vectors. Out: a `Clustering`: the cluster, the probability and the place on a map of each text, and
each cluster's label and central texts. It neither makes vectors nor writes files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from farthing.core.errors import InputError
from farthing.toolkit.cluster.group import NOISE, group
from farthing.toolkit.cluster.labels import characteristic_terms
from farthing.toolkit.cluster.map import UMAP_NEIGHBOURS, choose_layout, lay_out
from farthing.toolkit.cluster.neighbours import connected_graph, find_neighbours
from farthing.toolkit.cluster.reduce import reduce
from farthing.toolkit.cluster.scripts import without_writing, writings_of

NUM_CENTRAL = 5
LABEL_CHARS = 60


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
