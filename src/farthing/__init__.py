"""Farthing: text to vectors, on the hardware you already have.

    from farthing import Embedder

    vectors = Embedder("starter").encode(["The weather is lovely today.", "He drove to the stadium."])

Importing this package is cheap: torch is loaded when `Embedder` or `Reranker` is first touched.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from farthing.core.version import __version__

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder as Embedder
    from farthing.serving.reranker import Reranker as Reranker
    from farthing.toolkit.bulk.job import embed_file as embed_file
    from farthing.toolkit.documents.document import Document as Document
    from farthing.toolkit.index.api import Index as Index

__all__ = ["Document", "Embedder", "Index", "Reranker", "__version__", "embed_file"]

MODULES = {
    "Document": "farthing.toolkit.documents.document",
    "Embedder": "farthing.serving.embedder",
    "Index": "farthing.toolkit.index.api",
    "Reranker": "farthing.serving.reranker",
    "embed_file": "farthing.toolkit.bulk.job",
}


def __getattr__(name: str) -> object:
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(f"module 'farthing' has no attribute {name!r}")
