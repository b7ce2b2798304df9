from __future__ import annotations

import numpy as np
import pytest

from farthing.toolkit.cluster.map import UMAP_MAX_POINTS, choose_layout, lay_out
from farthing.toolkit.cluster.neighbours import find_neighbours


@pytest.mark.parametrize(
    ("asked", "num_points", "layout"),
    [
        ("auto", 1000, "umap"),
        ("auto", UMAP_MAX_POINTS + 1, "pca"),
        ("umap", UMAP_MAX_POINTS + 1, "umap"),
        ("umap", 10, "pca"),
        ("pca", 1000, "pca"),
    ],
)
def test_the_layout_is_as_asked_or_as_the_number_of_points_allows(asked: str, num_points: int, layout: str) -> None:
    assert choose_layout(asked, num_points) == layout


def test_umap_keeps_what_is_together_together_and_is_the_same_again() -> None:
    random = np.random.default_rng(0)
    points = np.concatenate([random.standard_normal((40, 6)) + 20 * side for side in (0, 1)]).astype(np.float32)
    neighbours = find_neighbours(points, 15)
    places, again = (lay_out(points, neighbours, "umap", seed=1) for _ in range(2))
    np.testing.assert_array_equal(places, again)
    assert places.shape == (80, 2)
    assert places.dtype == np.float32
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) // 40 == np.arange(80) // 40).all()


@pytest.mark.parametrize(
    "points", [np.zeros((60, 3)), np.repeat(np.eye(2, 3), 30, axis=0), np.linspace(0, 1, 60)[:, None]]
)
def test_points_in_one_place_or_on_one_line_have_places_too(points: np.ndarray) -> None:
    points = (points - points.mean(axis=0)).astype(np.float32)
    places = lay_out(points, find_neighbours(points, 15), "umap", seed=1)
    assert np.isfinite(places).all()


def test_the_plain_map_is_the_first_two_components() -> None:
    points = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    np.testing.assert_array_equal(lay_out(points, find_neighbours(points, 15), "pca", seed=0), points[:, :2])
    line = points[:, :1]
    np.testing.assert_array_equal(lay_out(line, find_neighbours(line, 15), "pca", seed=0)[:, 1], np.zeros(50))
