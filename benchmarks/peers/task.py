"""What every engine of the comparison is given and gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

Texts = Sequence[Sequence[int]]
Embed = Callable[[Texts], np.ndarray]
"""Token ids of one batch of texts -> [texts, hidden] float32: pooled, not normalised."""


@dataclass(frozen=True)
class Task:
    """
    Attributes:
        engine: row of `peers.engines.ENGINES`.
        checkpoint: folder with config.json and model.safetensors.
        pooling: "last" for causal models, "mean" for BERT.
        exported: file of the checkpoint in the engine's own format, for engines that have one.
        isa: "avx2" where the engine may use no later instructions; None where it may use all.
    """

    engine: str
    checkpoint: Path
    pooling: Literal["last", "mean"]
    exported: Path
    num_threads: int
    isa: str | None = None


def padded(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """Ids [texts, longest] int64, padded right with 0, and lengths [texts] int64.

    To the right also for causal models: no text's last token sees what comes after it, so no mask is needed.
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    ids = np.zeros((len(texts), int(lengths.max())), dtype=np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
    return ids, lengths


def token_mask(lengths: np.ndarray, width: int) -> np.ndarray:
    """[texts, width] int64: 1 where a token stands, 0 on padding."""
    return (np.arange(width) < lengths[:, None]).astype(np.int64)


@dataclass(frozen=True)
class Answer:
    """
    Attributes:
        seconds: for all batches, padding included.
        vectors: [texts, hidden] float32, in the order of the batches.
        resident_bytes: of the engine's process after the run, mapped files included.
    """

    seconds: float
    vectors: np.ndarray
    resident_bytes: int
