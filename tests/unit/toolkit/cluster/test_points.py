"""Reduction, neighbours and groups, on points whose clusters can be seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score

from farthing.toolkit.cluster.clustering import NOISE, by_size, group, reduce
from farthing.toolkit.cluster.neighbours import connected_graph, find_neighbours
from farthing.toolkit.cluster.scripts import without_writing


def blobs(sizes: tuple[int, ...], dimensions: int = 8, seed: int = 0) -> np.ndarray:
    """Balls of the given sizes, far from each other: float32."""
    random = np.random.default_rng(seed)
    centres = 10 * random.standard_normal((len(sizes), dimensions))
    parts = [centre + random.standard_normal((size, dimensions)) for centre, size in zip(centres, sizes, strict=True)]
    return np.concatenate(parts).astype(np.float32)


def distances_of(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None].astype(np.float64) - points[None], axis=2)


def test_components_are_centred_and_hold_most_of_the_variance_first() -> None:
    vectors = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32) * np.geomspace(10, 0.01, 16)
    reduced = reduce(vectors, 4, seed=0)
    assert reduced.points.shape == (200, 4)
    assert reduced.points.dtype == np.float32
    np.testing.assert_allclose(reduced.points.mean(axis=0), 0, atol=1e-4)
    spread = reduced.points.var(axis=0)
    assert list(spread) == sorted(spread, reverse=True)
    centred = vectors - vectors.mean(axis=0)
    assert reduced.variance_kept == pytest.approx(spread.sum() / centred.var(axis=0).sum(), rel=1e-3)


@pytest.mark.parametrize("shape", [(2, 16), (5, 1024), (300, 3)])
def test_there_are_no_more_components_than_vectors_or_dimensions(shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert reduce(vectors, 128, seed=0).points.shape == (shape[0], min(128, *shape))


def test_equal_vectors_have_no_variance_to_lose() -> None:
    reduced = reduce(np.ones((20, 8), dtype=np.float32), 4, seed=0)
    assert reduced.variance_kept == 1
    assert np.isfinite(reduced.points).all()


def test_neighbours_are_the_nearest_others_in_order() -> None:
    points = blobs((40, 30))
    found = find_neighbours(points, 5)
    distances = distances_of(points)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(found.indices, np.argsort(distances, axis=1)[:, :5])
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :5], rtol=1e-5)


def test_a_point_has_no_more_neighbours_than_there_are_others() -> None:
    assert find_neighbours(blobs((4,)), 15).indices.shape == (4, 3)


@pytest.mark.parametrize(("sizes", "excess"), [((300, 299), 1e-4), ((40, 30, 20, 10, 10), 1e-4), ((6,) * 30, 0.03)])
def test_parts_without_a_neighbour_outside_are_joined_by_short_edges(sizes: tuple[int, ...], excess: float) -> None:
    points = blobs(sizes)
    graph = connected_graph(points, find_neighbours(points, 5))
    assert connected_components(graph, directed=False)[0] == 1
    joined, shortest = (
        np.sort(minimum_spanning_tree(table).data)[1 - len(sizes) :].sum() for table in (graph, distances_of(points))
    )
    assert shortest * (1 - 1e-4) < joined < shortest * (1 + excess)


def test_parts_larger_than_a_block_are_joined_by_the_shortest_edge_too() -> None:
    points = np.concatenate([blobs((600,)), blobs((5000,), seed=1) + 200]).astype(np.float32)
    points = points[np.random.default_rng(0).permutation(len(points))]
    graph = connected_graph(points, find_neighbours(points, 15))
    far = points.mean(axis=1) > 100
    between = np.linalg.norm(points[far][:, None] - points[~far][None], axis=2).min()
    assert minimum_spanning_tree(graph).data.max() == pytest.approx(between, rel=1e-3)


@pytest.mark.parametrize("min_samples", [1, 3])
def test_groups_are_those_that_hdbscan_finds_in_all_distances(min_samples: int) -> None:
    points = np.concatenate([blobs((60, 40, 25, 12), dimensions=4), 12 * np.eye(4, dtype=np.float32)])
    graph = connected_graph(points, find_neighbours(points, 15))
    found, probability = group(graph, min_cluster_size=5, min_samples=min_samples)
    # scikit-learn counts a point as its own neighbour.
    own = HDBSCAN(min_cluster_size=5, min_samples=min_samples + (min_samples > 1), copy=True)
    exact = own.fit(points.astype(np.float64))
    assert adjusted_rand_score(exact.labels_, found) > 0.97
    assert len(set(found) - {NOISE}) == len(set(exact.labels_) - {NOISE}) >= 4
    assert ((probability > 0) == (found != NOISE)).all()
    assert probability.max() <= 1


def test_separate_balls_are_not_one_cluster_only_because_no_neighbour_leads_out_of_them() -> None:
    # Balls of two halves each: where a ball were born at no density at all, it would be chosen before its halves.
    halves = [centre + offset for centre in (0, 1000, 2000) for offset in (0, 30)]
    random = np.random.default_rng(0)
    points = np.concatenate([random.standard_normal((40, 4)) + half for half in halves]).astype(np.float32)
    graph = connected_graph(points, find_neighbours(points, 50))
    found, _ = group(graph, min_cluster_size=10, min_samples=5)
    exact = HDBSCAN(min_cluster_size=10, min_samples=6, copy=True).fit(points.astype(np.float64)).labels_
    assert adjusted_rand_score(exact, found) == 1


def test_texts_that_are_equal_many_times_over_are_a_cluster() -> None:
    points = np.concatenate([np.zeros((30, 4)), np.ones((20, 4)), blobs((40,), dimensions=4)]).astype(np.float32)
    found, _ = group(connected_graph(points, find_neighbours(points, 15)), min_cluster_size=5, min_samples=1)
    assert len(set(found[:30])) == len(set(found[30:50])) == 1
    assert NOISE not in found[:50]
    assert found[0] != found[30]


def groups_of(vectors: np.ndarray, min_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """As texts of one script are grouped, from their vectors on."""
    centred = without_writing(vectors, np.array(["LATIN"] * len(vectors)))
    points = reduce(centred, 128, seed=0).points
    graph = connected_graph(points, find_neighbours(points, 15))
    return group(graph, min_cluster_size=5, min_samples=min_samples)


def texts_like(rows: np.ndarray, times: tuple[int, ...], rounding: float = 1e-6) -> np.ndarray:
    """Unit vectors, each as often as told, with the differences that batches make."""
    repeated = np.repeat(rows / np.linalg.norm(rows, axis=1, keepdims=True), times, axis=0)
    noise = np.random.default_rng(1).standard_normal(repeated.shape) / np.sqrt(repeated.shape[1])
    return (repeated + rounding * noise).astype(np.float32)


@pytest.mark.parametrize("min_samples", [1, 3])
@pytest.mark.parametrize("rounding", [0, 1e-6, 1e-4])
@pytest.mark.parametrize("count", [5, 20, 30, 60, 100])
def test_equal_texts_alone_are_one_cluster(count: int, rounding: float, min_samples: int) -> None:
    row = np.random.default_rng(0).standard_normal((1, 384))
    found, probability = groups_of(texts_like(row, (count,), rounding), min_samples)
    assert found.tolist() == [0] * count
    assert probability.tolist() == [1] * count


@pytest.mark.parametrize("rounding", [0, 1e-6])
@pytest.mark.parametrize("others", [1, 3, 4])
def test_equal_texts_beside_others_that_are_in_none_are_one_cluster(others: int, rounding: float) -> None:
    rows = np.random.default_rng(0).standard_normal((1 + others, 384))
    found, probability = groups_of(texts_like(rows, (60,) + (1,) * others, rounding))
    assert found.tolist() == [0] * 60 + [NOISE] * others
    assert probability.tolist() == [1] * 60 + [0] * others


@pytest.mark.parametrize("rounding", [0, 1e-6])
def test_each_pile_of_equal_texts_is_one_cluster_however_large(rounding: float) -> None:
    rows = np.random.default_rng(0).standard_normal((53, 384))
    found, probability = groups_of(texts_like(rows, (200, 60, 6) + (1,) * 50, rounding))
    piles = [set(part) for part in np.split(found[:266], [200, 260])]
    assert [len(pile) for pile in piles] == [1, 1, 1]
    assert len({NOISE}.union(*piles)) == 4
    assert not set(found[266:]) & set.union(*piles) - {NOISE}
    assert (probability[:266] == 1).all()
    assert np.isfinite(probability).all()


def test_equal_texts_are_one_cluster_whatever_their_batches_made_of_them() -> None:
    # Forty of each batch are equal in every bit, and nearer to each other than to any of another batch.
    batches = np.random.default_rng(0).standard_normal((3, 384)) / np.sqrt(384)
    rows = np.concatenate([[batches[0] + 1e-6 * batch for batch in batches], batches[1:2], -batches[:1]])
    vectors = np.concatenate([texts_like(rows, (40, 40, 40, 1, 1), 0), texts_like(rows[3:], (8, 8), 0.5)])
    found, _ = groups_of(vectors)
    assert set(found[:120]) == {0}
    assert 0 not in found[120:]


def test_fewer_equal_texts_than_a_cluster_has_are_noise() -> None:
    found, _ = groups_of(texts_like(np.random.default_rng(0).standard_normal((2, 384)), (4, 1)))
    assert found.tolist() == [NOISE] * 5


def test_clusters_are_numbered_from_the_largest_down() -> None:
    assert by_size(np.array([7, -1, 2, 2, 5, 5, 7])).tolist() == [0, -1, 1, 1, 2, 2, 0]
    assert by_size(np.array([0, 1, 1, -1])).tolist() == [1, 0, 0, -1]
    assert by_size(np.array([-1, -1])).tolist() == [-1, -1]


def test_fewer_points_than_a_cluster_has_are_noise() -> None:
    points = blobs((4,))
    found, probability = group(connected_graph(points, find_neighbours(points, 15)), min_cluster_size=5, min_samples=1)
    assert found.tolist() == [NOISE] * 4
    assert not probability.any()
