from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.toolkit.dedup import near
from farthing.toolkit.dedup.near import near_duplicates, near_duplicates_of
from tiers import examples


def unit_rows(count: int, dimensions: int, spread: float, seed: int) -> np.ndarray:
    """Vectors around a few centres, so that many are near each other, in chains too."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(1, count // 8), dimensions))
    rows = centres[rng.integers(len(centres), size=count)] + spread * rng.normal(size=(count, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def greedy(vectors: np.ndarray, order: np.ndarray, threshold: float) -> list[int]:
    """What is kept, by the definition: one after the other against all that are kept, in float64."""
    kept: list[int] = []
    for row in order.tolist():
        distances = np.linalg.norm(vectors[kept].astype(np.float64) - vectors[row], axis=1) if kept else np.empty(0)
        if not (distances <= threshold).any():
            kept.append(row)
    return kept


@settings(deadline=None, max_examples=examples(40))
@given(
    count=st.integers(1, 60),
    spread=st.floats(0.01, 1),
    threshold=st.floats(0.0, 1.2),
    seed=st.integers(0, 10**6),
    exhaustive=st.booleans(),
    block=st.sampled_from([1, 3, 64]),
)
def test_a_dropped_row_is_within_the_threshold_of_the_kept_row_it_names(
    count: int, spread: float, threshold: float, seed: int, exhaustive: bool, block: int
) -> None:
    vectors = unit_rows(count, 6, spread, seed)
    order = np.random.default_rng(seed).permutation(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "BLOCK_ROWS", block)
        found = near_duplicates(vectors, order, threshold, exhaustive=exhaustive)
    place = np.argsort(order)
    for row in np.flatnonzero(found.nearest >= 0):
        other = found.nearest[row]
        assert not found.dropped[other]
        assert place[other] < place[row]
        exact = np.linalg.norm(vectors[row].astype(np.float64) - vectors[other])
        assert found.distances[row] == pytest.approx(exact, abs=1e-6)
        assert found.dropped[row] == (found.distances[row] <= np.float32(threshold))
    assert found.nearest[order[0]] == -1
    assert not found.dropped[order[0]]


@pytest.mark.parametrize("block", [1, 7, 100, 4096])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_what_is_kept_is_what_one_after_the_other_keeps(
    block: int, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "BLOCK_ROWS", block)
    vectors = unit_rows(400, 12, 0.15, seed=3)
    order = np.random.default_rng(1).permutation(400)
    kept = greedy(vectors, order, threshold)
    found = near_duplicates(vectors, order, threshold)
    assert 0 < len(kept) < 400
    assert np.flatnonzero(~found.dropped).tolist() == sorted(kept)
    earlier = {row: kept[: sum(np.argsort(order)[kept] < np.argsort(order)[row])] for row in range(400)}
    for row, before in earlier.items():
        if before:
            distances = np.linalg.norm(vectors[before] - vectors[row], axis=1)
            assert found.distances[row] == pytest.approx(distances.min(), abs=1e-5)


def test_a_chain_does_not_drop_what_is_far_from_everything_kept() -> None:
    angles = np.deg2rad(np.arange(0, 90, 10))  # neighbours are 0.17 apart, the ends 1.3
    chain = np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)
    found = near_duplicates(chain, np.arange(9), 0.35)
    assert np.flatnonzero(~found.dropped).tolist() == [0, 3, 6]
    assert found.nearest.tolist() == [-1, 0, 0, 0, 3, 3, 3, 6, 6]


def test_a_distance_of_exactly_the_threshold_is_dropped() -> None:
    found = near_duplicates(np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32), np.arange(3), 0.0)
    assert found.dropped.tolist() == [False, True, False]


def test_rows_outside_the_order_take_no_part() -> None:
    vectors = np.zeros((4, 3), dtype=np.float32)
    vectors[[1, 3]] = [1, 0, 0]
    found = near_duplicates(vectors, np.array([3, 1]), 0.35)
    assert found.dropped.tolist() == [False, True, False, False]
    assert found.nearest.tolist() == [-1, 3, -1, -1]
    assert np.isnan(found.distances[[0, 2, 3]]).all()


@pytest.mark.parametrize("exhaustive", [True, False])
def test_a_crowd_that_repeats_one_row_leaves_that_row(exhaustive: bool) -> None:
    rng = np.random.default_rng(0)
    crowd = np.array([1] + [0] * 15) + 0.01 * rng.normal(size=(9000, 16))
    others = rng.normal(size=(1000, 16))
    vectors = np.concatenate((others, crowd)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = near_duplicates(vectors, rng.permutation(len(vectors)), 0.35, exhaustive=exhaustive)
    assert found.dropped[1000:].sum() == 8999


def test_partitions_find_nearly_all_that_there_is_to_find() -> None:
    vectors = unit_rows(6000, 48, 0.03, seed=5)
    order = np.arange(6000)
    every, some = (near_duplicates(vectors, order, 0.35, exhaustive=exhaustive) for exhaustive in (True, False))
    assert every.dropped.sum() > 3000
    assert (every.dropped & some.dropped).sum() >= 0.99 * every.dropped.sum()
    # And they are in use: a row that is far from all need not know which one is nearest.
    assert not np.array_equal(every.nearest, some.nearest)


@pytest.mark.parametrize("exhaustive", [True, False])
def test_one_set_against_another_leaves_repeats_within_each_alone(exhaustive: bool) -> None:
    others = unit_rows(300, 24, 0.05, seed=1)
    rng = np.random.default_rng(2)
    near_others = others[:50] + 0.01 * rng.normal(size=(50, 24)).astype(np.float32)
    vectors = np.concatenate((near_others, unit_rows(40, 24, 0.0, seed=9)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = near_duplicates_of(vectors, np.arange(90), others, np.arange(300), 0.2, exhaustive=exhaustive)
    assert found.dropped.tolist() == [True] * 50 + [False] * 40
    exact = np.linalg.norm(vectors[:50] - others[found.nearest[:50]], axis=1)
    np.testing.assert_allclose(found.distances[:50], exact, atol=1e-6)
