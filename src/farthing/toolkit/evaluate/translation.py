"""Translations: whether the nearest sentence in the other language is the translation, in both directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROWS_AT_A_TIME = 1024


def translation_figures(
    source: np.ndarray, target: np.ndarray, source_texts: Sequence[str], target_texts: Sequence[str]
) -> dict[str, float]:
    """Return the shares of texts whose nearest text is their translation, or has the same words as their translation.

    Args:
        source, target: of length 1, float32 [pairs, dimensions].
    """
    forward = share_found(source, target, target_texts)
    back = share_found(target, source, source_texts)
    return {"top-1": forward, "top-1 back": back, "top-1 mean": (forward + back) / 2}


def share_found(queries: np.ndarray, documents: np.ndarray, texts: Sequence[str]) -> float:
    nearest = np.concatenate(
        [
            (queries[start : start + ROWS_AT_A_TIME] @ documents.T).argmax(axis=1)
            for start in range(0, len(queries), ROWS_AT_A_TIME)
        ]
    )
    return float(np.mean([texts[found] == text for found, text in zip(nearest, texts, strict=True)]))
