"""Farthing: text to vectors, on the hardware you already have.

    from farthing import Embedder

    vectors = Embedder("starter").encode(["The weather is lovely today.", "He drove to the stadium."])

Importing this package is cheap: torch is loaded when `Embedder` or `Reranker` is first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder as Embedder
    from farthing.serving.reranker import Reranker as Reranker

__all__ = ["Embedder", "Reranker", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "Embedder":
        from farthing.serving.embedder import Embedder

        return Embedder
    if name == "Reranker":
        from farthing.serving.reranker import Reranker

        return Reranker
    raise AttributeError(f"module 'farthing' has no attribute {name!r}")
