"""What each cluster is about, in words: its characteristic terms.

In: texts, with the cluster and the script of each. Out: a few terms for each cluster. A term is weighed by class-based
tf-idf (Grootendorst, 2022, https://arxiv.org/abs/2203.05794): the share of the cluster's texts that have the term,
times the logarithm of how much rarer the term is in the average cluster. Texts of each script are weighed among
themselves, and the scripts of a cluster take turns, so that a cluster in two languages is labelled in both. `Segmenter`
finds the words.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from farthing.toolkit.index.words import Segmenter
from farthing.toolkit.optional import needed

NUM_TERMS = 5
# A cluster gets terms in a script if at least this share of its texts is in that script.
MIN_SHARE = 0.2
# The later words of a long text add little to its beginning, and reading them takes time.
CHARS_READ = 500


def characteristic_terms(texts: Sequence[str], clusters: np.ndarray, writings: np.ndarray) -> list[list[str]]:
    """Return at most `NUM_TERMS` terms of each cluster, the most characteristic first; none where no words were found.

    Args:
        clusters: each text's cluster, int [texts]; texts with a number below 0 are left out.
        writings: each text's script, str [texts].

    Raises `MissingExtraError` where a segmenter that the texts need is not installed.
    """
    num_clusters = int(clusters.max(initial=-1)) + 1
    sizes = np.bincount(clusters[clusters >= 0], minlength=num_clusters)
    ranked: list[list[tuple[int, list[str]]]] = [[] for _ in range(num_clusters)]
    segmenter = Segmenter()
    for writing in np.unique(writings):
        chosen = np.flatnonzero((clusters >= 0) & (writings == writing))
        counts = np.bincount(clusters[chosen], minlength=num_clusters)
        words = [dict(segmenter.content_words(texts[index][:CHARS_READ])) for index in chosen.tolist()]
        terms = terms_of(words, clusters[chosen], num_clusters)
        for cluster in np.flatnonzero(counts >= np.maximum(MIN_SHARE * sizes, 1)):
            ranked[cluster].append((int(counts[cluster]), terms[cluster]))
    return [take_turns(sorted(found, key=lambda entry: -entry[0])) for found in ranked]


def terms_of(words: Sequence[dict[str, str]], clusters: np.ndarray, num_clusters: int) -> list[list[str]]:
    """Return the terms of each cluster, best first, in their most frequent spelling.

    Args:
        words: for each text, a mapping from the form of a word that counts to how the text spells it.
        clusters: the cluster of each text.
    """
    with needed("Clustering", "cluster"):
        from scipy.sparse import csr_matrix
    numbers: dict[str, int] = defaultdict(itertools.count().__next__)
    written: dict[int, Counter[str]] = defaultdict(Counter)
    columns = []
    for text_words in words:
        for word, as_written in text_words.items():
            written[numbers[word]][as_written] += 1
            columns.append(numbers[word])
    rows = np.repeat(clusters, [len(text_words) for text_words in words])
    ones = np.ones(len(columns), dtype=np.float64)
    counts = csr_matrix((ones, (rows, np.array(columns, dtype=np.int64))), shape=(num_clusters, len(numbers)))
    sizes = np.bincount(clusters, minlength=num_clusters)
    shares = counts.multiply(1 / np.maximum(sizes, 1)[:, None]).tocsr()
    shares_of_all = np.asarray(shares.sum(axis=0)).ravel()
    rarity = np.log1p(np.count_nonzero(sizes) / np.maximum(shares_of_all, 1e-12))
    weights = shares.multiply(rarity[None, :]).tocsr()
    forms = list(numbers)
    return [
        [
            written[numbers[form]].most_common(1)[0][0]
            for form in without_parts([forms[column] for column in best_columns(weights, cluster, 2 * NUM_TERMS)])
        ]
        for cluster in range(num_clusters)
    ]


def without_parts(ranked: Sequence[str]) -> list[str]:
    """Return the best `NUM_TERMS`, without parts of hyphenated words that are among them: "top" beside "top-up"."""
    joined = [form.split("-") for form in ranked[:NUM_TERMS] if "-" in form]
    said = set(itertools.chain.from_iterable(joined))
    return [form for form in ranked if form not in said][:NUM_TERMS]


def best_columns(weights: Any, row: int, count: int) -> list[int]:
    """Return the columns of the largest entries in a row of a sparse matrix; of equal ones the earlier column first."""
    part = slice(weights.indptr[row], weights.indptr[row + 1])
    columns, values = weights.indices[part], weights.data[part]
    return [int(column) for column in columns[np.lexsort((columns, -values))[:count]]]


def take_turns(ranked: Sequence[tuple[int, Sequence[str]]]) -> list[str]:
    """Return the first term of each list, then the second of each, and so on; at most `NUM_TERMS`, none twice."""
    turns = itertools.chain.from_iterable(itertools.zip_longest(*(terms for _, terms in ranked)))
    return list(dict.fromkeys(term for term in turns if term is not None))[:NUM_TERMS]
