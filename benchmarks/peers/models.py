"""The models of the comparison: a synthetic one of Qwen3's shape, written to the cache once, or a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.models.synth.checkpoint import SHAPES, find_shape, write_synthetic

REAL = {"minilm": "all-MiniLM-L6-v2", "e5": "multilingual-e5-small-q4"}


@dataclass(frozen=True)
class Model:
    """
    Attributes:
        cache: folder for this model in other engines' formats.
        pooling: of the vectors; "last" also says that attention is causal.
        max_batch_tokens: our own token budget for it.
    """

    checkpoint: Path
    cache: Path
    pooling: Literal["last", "mean"]
    num_layers: int
    vocab: int
    max_tokens: int
    max_batch_tokens: int


def find_model(name: str, num_layers: int, cache: Path) -> Model:
    """By a synthetic shape's name, "minilm" or "e5" (in the folder FARTHING_TEST_MODELS), or a folder.

    Raises:
        SystemExit: its pooling is not one that the other engines are exported with.
        FarthingError: it cannot be read.
    """
    if name in SHAPES:
        checkpoint = synthetic(name, num_layers, cache)
    elif name in REAL:
        checkpoint = Path(os.environ.get("FARTHING_TEST_MODELS", ".")) / REAL[name]
    else:
        checkpoint = Path(name)
    described = describe_model(checkpoint.expanduser().resolve(), EngineSettings(device="cpu"))
    pooling = described.embedding.pooling
    if pooling == "cls":
        raise SystemExit(f"{checkpoint} pools the first token; this benchmark exports last-token and mean pooling")
    return Model(
        checkpoint=described.path,
        cache=cache / f"{checkpoint.name}-{described.checkpoint.fingerprint[:12]}",
        pooling=pooling,
        num_layers=described.spec.num_layers,
        vocab=described.spec.vocab,
        max_tokens=described.spec.max_positions,
        max_batch_tokens=described.plan.max_batch_tokens,
    )


def synthetic(name: str, num_layers: int, cache: Path) -> Path:
    path = cache / f"{name}-{num_layers}"
    if not (path / "config.json").is_file():  # the last file that is written
        write_synthetic(replace(find_shape(name), num_layers=num_layers), path)
    return path
