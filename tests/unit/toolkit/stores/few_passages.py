"""Passages for stores, and what is in a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.store import Store

DIMENSIONS = 16
random = np.random.default_rng(0)


def unit(num: int) -> np.ndarray:
    rows = random.standard_normal((num, DIMENSIONS)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def passages_of(document: str, num: int, digest: str = "1", **fields: Any) -> list[Passage]:
    return [
        Passage(f"{document}#{place}", document, digest, f"text {place} of {document}", **fields)
        for place in range(num)
    ]


def put(store: Store, passages: Sequence[Passage], words: Sequence[str] | None = None) -> np.ndarray:
    vectors = unit(len(passages))
    store.put(passages, words or [f"word {passage.document}" for passage in passages], vectors)
    return vectors


def held(store: Store) -> dict[str, list[Passage]]:
    found = defaultdict(list)
    for batch in store.passages():
        for passage in batch:
            found[passage.document].append(passage)
    return dict(found)
