"""An index of a few documents, with a model of seeded random weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from few_documents import DOCUMENTS

from farthing import Embedder
from farthing.toolkit.index.index import VectorIndex
from farthing.toolkit.stores.lance.database import LanceDatabase


@pytest.fixture(scope="session")
def embedder(tiny_qwen3: Path) -> Iterator[Embedder]:
    with Embedder(str(tiny_qwen3)) as opened:
        yield opened


@pytest.fixture(scope="session")
def milvus_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Places in one Milvus Lite, which runs in this process until it ends."""
    file = tmp_path_factory.mktemp("milvus") / "vectors.db"
    return (f"milvus:{file}/index-{number}" for number in itertools.count())


@pytest.fixture
def milvus_place(milvus_places: Iterator[str]) -> str:
    return next(milvus_places)


@pytest.fixture
def database(tmp_path: Path) -> LanceDatabase:
    return LanceDatabase(str(tmp_path / "index"))


@pytest.fixture
def index(database: LanceDatabase, embedder: Embedder) -> VectorIndex:
    """With `DOCUMENTS` in it; the tower makes several passages."""
    made = VectorIndex.create(database, embedder, max_tokens=128)
    made.add(DOCUMENTS, embedder)
    return made
