"""Figures of sets that are not searched."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from farthing.core.errors import InputError
from farthing.toolkit.evaluate.labels import label_figures
from farthing.toolkit.evaluate.pairs import pair_figures
from farthing.toolkit.evaluate.translation import translation_figures


def turned(degrees: list[float]) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_similarity_is_the_correlation_of_cosines_with_scores() -> None:
    first, second = turned([0, 0, 0, 0]), turned([10, 80, 30, 60])
    figures = pair_figures(first, second, [5, 0, 4, 1])
    assert figures["Spearman"] == pytest.approx(1)
    # Pearson by numpy, which has no ranks.
    cosines = np.cos(np.deg2rad([10, 80, 30, 60]))
    assert figures["Pearson"] == pytest.approx(np.corrcoef(cosines, [5, 0, 4, 1])[0, 1])
    assert pair_figures(first, second, [0, 5, 1, 4])["Spearman"] == pytest.approx(-1)
    # One pair of neighbours in the wrong order: 1 - 6 * 2 / (4 * 15).
    assert pair_figures(first, second, [4, 0, 5, 1])["Spearman"] == pytest.approx(0.8)


def test_scores_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(InputError, match="the same score"):
        pair_figures(turned([0, 0]), turned([1, 2]), [3.0, 3.0])


def test_labels_that_vectors_tell_apart_are_learnt_and_clustered() -> None:
    random = np.random.default_rng(0)
    centres = np.eye(3)[:, [0, 1, 2]]
    labels = [name for name in "abc" for _ in range(20)]
    vectors = np.repeat(centres, 20, axis=0) + random.normal(scale=0.05, size=(60, 3))
    assert label_figures(vectors, labels, vectors, labels) == {
        "accuracy": 1,
        "kNN accuracy": 1,
        "v-measure": pytest.approx(1),
    }
    unlike = random.normal(size=(60, 3))
    figures = label_figures(unlike, labels, random.normal(size=(60, 3)), labels)
    assert 0.15 < figures["accuracy"] < 0.55
    assert figures["v-measure"] < 0.2


def test_knn_counts_what_most_of_five_neighbours_have() -> None:
    train, labels = turned([0, 1, 2, 3, 4, 90, 91, 92]), ["a", "a", "b", "b", "b", "c", "c", "c"]
    test, truth = turned([0, 91]), ["a", "c"]
    # The five nearest of 0 degrees are two of a and three of b; of 91 degrees three of c and two of b.
    assert label_figures(train, labels, test, truth)["kNN accuracy"] == accuracy_score(truth, ["b", "c"])


def test_a_single_label_is_refused() -> None:
    with pytest.raises(InputError, match="the same label"):
        label_figures(turned([0, 1]), ["a", "a"], turned([0]), ["a"])


def test_translations_are_looked_for_in_both_directions() -> None:
    source, target = turned([0, 50, 90]), turned([5, 10, 95])
    # Nearest to the sources are targets 0, 1 and 2; nearest to the targets sources 0, 0 and 2.
    figures = translation_figures(source, target, ["x", "y", "z"], ["a", "b", "c"])
    assert figures == {"top-1": 1, "top-1 back": pytest.approx(2 / 3), "top-1 mean": pytest.approx(5 / 6)}
    # Sources 0 and 1 say the same, so either is right.
    assert translation_figures(source, target, ["x", "x", "z"], ["a", "b", "c"])["top-1 back"] == 1
