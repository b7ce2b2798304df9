"""Similarity: how well the cosines of pairs agree with the scores that people gave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from farthing.core.errors import InputError
from farthing.toolkit.optional import needed


def pair_figures(first: np.ndarray, second: np.ndarray, scores: Sequence[float]) -> dict[str, float]:
    """Return Spearman's and Pearson's correlation of the cosines with `scores`.

    Args:
        first, second: of length 1, float32 [pairs, dimensions].

    Raises `InputError` when all scores are the same, because nothing correlates with them.
    """
    with needed("Measuring similarity", "eval"):
        from scipy.stats import pearsonr, spearmanr
    if len(set(scores)) < 2:
        raise InputError("All pairs have the same score, so that nothing can agree with them.", param="data")
    cosines = np.einsum("ij,ij->i", first, second)
    return {
        "Spearman": float(spearmanr(cosines, scores).statistic),
        "Pearson": float(pearsonr(cosines, scores).statistic),
    }
