"""Labels: how well vectors predict the labels of texts, learnt from a few texts, from all, or from none.

- accuracy: as in MTEB's classification tasks (https://arxiv.org/abs/2210.07316): logistic regression on 8 texts of each
  label, the mean of 10 draws;
- kNN accuracy: a test text gets the label that most of the 5 nearest training texts have;
- v-measure (Rosenberg and Hirschberg, EMNLP 2007): k-means with as many clusters as labels on the test texts, without
  using their labels.

All draws and starts are seeded.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from farthing.core.errors import InputError
from farthing.toolkit.optional import needed

TEXTS_A_LABEL, NUM_DRAWS, MAX_ITERATIONS = 8, 10, 100
NUM_NEIGHBOURS = 5
KMEANS_STARTS = 4


def label_figures(
    train: np.ndarray, train_labels: Sequence[str], test: np.ndarray, test_labels: Sequence[str]
) -> dict[str, float]:
    """Return accuracy, kNN accuracy and v-measure.

    Args:
        train, test: of length 1, float32 [texts, dimensions].

    Raises `InputError` when the training texts have only one label.
    """
    with needed("Measuring labels", "eval"):
        from sklearn.cluster import KMeans
        from sklearn.metrics import v_measure_score
        from sklearn.neighbors import KNeighborsClassifier
    known, asked = np.asarray(train_labels), np.asarray(test_labels)
    num_labels = len(set(train_labels))
    if num_labels < 2:
        raise InputError("All texts to learn from have the same label; there must be two.", param="data")
    neighbours = KNeighborsClassifier(min(NUM_NEIGHBOURS, len(train)), metric="cosine").fit(train, known)
    num_clusters = min(len(set(test_labels)), len(test))
    clusters = KMeans(num_clusters, n_init=KMEANS_STARTS, random_state=0).fit_predict(test)
    return {
        "accuracy": few_shot_accuracy(train, known, test, asked),
        "kNN accuracy": float(neighbours.score(test, asked)),
        "v-measure": float(v_measure_score(asked, clusters)),
    }


def few_shot_accuracy(train: np.ndarray, known: np.ndarray, test: np.ndarray, asked: np.ndarray) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    scores = []
    for _ in range(NUM_DRAWS):
        order = random.permutation(len(train))
        drawn = np.concatenate([order[known[order] == label][:TEXTS_A_LABEL] for label in np.unique(known)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # MTEB stops after the same number of iterations
            scores.append(
                LogisticRegression(max_iter=MAX_ITERATIONS).fit(train[drawn], known[drawn]).score(test, asked)
            )
    return float(np.mean(scores))
