from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.core.errors import InputError
from farthing.toolkit.cluster.clustering import Clustering, cluster

TOPICS = {
    "refund": ["I want a refund", "When do I get my refund?", "refund me please", "my refund has not come", "a refund"],
    "PIN": ["change my PIN", "How is a PIN changed?", "I forgot the PIN", "new PIN please", "my PIN is blocked"],
    "weather": ["rainy weather", "The weather is fine", "bad weather tomorrow", "What weather!", "weather report"],
}
TEXTS = [text for topic in TOPICS.values() for text in topic] + ["a wren sang", "72 theorems"]


@pytest.fixture(scope="module")
def vectors(starter_dir: Path) -> np.ndarray:
    with Embedder(str(starter_dir)) as embedder:
        return embedder.encode(TEXTS)


@pytest.fixture(scope="module")
def found(vectors: np.ndarray) -> Clustering:
    return cluster(vectors, TEXTS, min_cluster_size=3)


def test_texts_of_a_topic_are_a_cluster_named_by_it(found: Clustering) -> None:
    assert [found.clusters[number].terms[0] for number in found.cluster[[0, 5, 10]]] == list(TOPICS)
    for start in (0, 5, 10):
        members = found.cluster[start : start + 5]
        assert (members == members[0]).sum() >= 4


def test_each_cluster_knows_its_size_and_its_central_texts(found: Clustering) -> None:
    sizes = [entry.size for entry in found.clusters]
    assert sizes == np.bincount(found.cluster[found.cluster >= 0]).tolist() == sorted(sizes, reverse=True)
    for entry in found.clusters:
        assert {found.cluster[index] for index in entry.central} == {entry.number}
        assert entry.label == ", ".join(entry.terms)


def test_the_most_central_text_is_the_nearest_to_the_mean(found: Clustering, vectors: np.ndarray) -> None:
    random = np.random.default_rng(0)
    far = np.array([50, 0, 0, 0], dtype=np.float32)
    around = np.concatenate([random.standard_normal((9, 4)) * radius for radius in (0.01, 1)]).astype(np.float32)
    points = np.concatenate([around + far, around - far]).astype(np.float32)
    made = cluster(points, [f"text {index}" for index in range(len(points))], across_scripts=False, layout="pca")
    assert len(made.clusters) == 2
    assert all(index % 18 < 9 for entry in made.clusters for index in entry.central[:5])


def test_the_same_texts_give_the_same_clusters_again(found: Clustering, vectors: np.ndarray) -> None:
    again = cluster(vectors, TEXTS, min_cluster_size=3)
    np.testing.assert_array_equal(found.cluster, again.cluster)
    np.testing.assert_array_equal(found.places, again.places)
    assert found.clusters == again.clusters


def test_vectors_of_a_mapped_file_are_as_good_and_are_not_written_to(
    found: Clustering, vectors: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", vectors)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    np.testing.assert_array_equal(cluster(mapped, TEXTS, min_cluster_size=3).cluster, found.cluster)


def test_one_text_many_times_over_is_one_central_text() -> None:
    random = np.random.default_rng(0)
    vectors = np.concatenate([np.tile([1, 0, 0], (6, 1)), np.tile([0, 1, 0], (6, 1))]).astype(np.float32)
    vectors += 0.01 * random.standard_normal(vectors.shape).astype(np.float32)
    made = cluster(vectors, ["same"] * 6 + [f"other {index}" for index in range(6)])
    assert sorted(len(entry.central) for entry in made.clusters) == [1, 5]


def test_a_cluster_without_words_is_named_by_a_text() -> None:
    vectors = np.eye(2, 4, dtype=np.float32).repeat(6, axis=0)
    made = cluster(vectors, ["12:30"] * 6 + ["?! ..."] * 6, layout="pca")
    assert sorted(entry.label for entry in made.clusters) == ["12:30", "?! ..."]


@pytest.mark.parametrize(("num_texts", "num_vectors"), [(1, 1), (0, 0), (3, 2)])
def test_too_few_texts_or_vectors_are_refused(num_texts: int, num_vectors: int) -> None:
    with pytest.raises(InputError, match=f"there are {num_texts} texts and {num_vectors} vectors"):
        cluster(np.ones((num_vectors, 4), dtype=np.float32), ["a"] * num_texts)
