"""The exact reference: sentence-transformers and transformers in fp32 on the same files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch


def reference_vectors(path: Path, texts: Sequence[str], *, prompt: str | None = None) -> np.ndarray:
    """Unit vectors float32 [texts, hidden] by sentence-transformers, one text at a time (no padding)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference's own deprecations are not ours
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(path), device="cpu", model_kwargs={"dtype": torch.float32})
        with torch.inference_mode():
            return np.stack([model.encode(text, prompt=prompt, normalize_embeddings=True) for text in texts])


def assert_same_vectors(got: np.ndarray, want: np.ndarray, *, cosine: float = 0.99999, distance: float = 1e-4) -> None:
    """Unit vectors [n, hidden]: every pair's cosine and largest absolute difference within bounds."""
    assert got.shape == want.shape
    assert got.dtype == np.float32
    assert float((got * want).sum(axis=1).min()) >= cosine
    assert float(np.abs(got - want).max()) <= distance
