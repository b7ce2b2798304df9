"""Farthing: text to vectors, on the hardware you already have.

    from farthing import Embedder

    vectors = Embedder("starter").encode(["The weather is lovely today.", "He drove to the stadium."])

Importing this package is cheap: torch is loaded when `Embedder` or `Reranker` is first touched.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder as Embedder
    from farthing.serving.reranker import Reranker as Reranker
    from farthing.toolkit.documents.document import Document as Document
    from farthing.toolkit.index.api import Index as Index

__all__ = ["Document", "Embedder", "Index", "Reranker", "__version__"]
__version__ = "0.1.0"

MODULES = {
    "Document": "farthing.toolkit.documents.document",
    "Embedder": "farthing.serving.embedder",
    "Index": "farthing.toolkit.index.api",
    "Reranker": "farthing.serving.reranker",
}


def __getattr__(name: str) -> object:
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(f"module 'farthing' has no attribute {name!r}")
