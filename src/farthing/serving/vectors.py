"""The last steps from pooled rows to vectors: cut to the asked dimensions, then scale to length 1 (in this order).

Nothing here needs torch, so that a server whose models are elsewhere does without it.
"""

from __future__ import annotations

import numpy as np

from farthing.core.errors import DimensionsError
from farthing.models.spec import EmbeddingSpec
from farthing.serving.request import EmbedRequest

SHORTEST = np.finfo(np.float32).tiny  # a row of zeros stays one


def check_dimensions(request: EmbedRequest, hidden: int, spec: EmbeddingSpec) -> tuple[str, ...]:
    """Warnings about the asked dimensions. Raises `DimensionsError` for a number outside 1..hidden."""
    asked = request.dimensions
    if asked is None or asked == hidden:
        return ()
    if not 1 <= asked <= hidden:
        raise DimensionsError(f"dimensions is {asked}; this model has 1 to {hidden}.", param="dimensions")
    if spec.matryoshka_min is None:
        return (f"this model was not trained to be cut: {asked} of {hidden} dimensions lose quality",)
    if asked < spec.matryoshka_min:
        return (f"{asked} dimensions are below the {spec.matryoshka_min} this model was trained to be cut to",)
    return ()


def finish_vectors(rows: np.ndarray, dimensions: int, normalize: bool) -> np.ndarray:
    """Cut rows, float32 [texts, hidden], to float32 [texts, dimensions], and with `normalize` make them 1 long."""
    vectors: np.ndarray = rows[:, :dimensions]
    if not normalize:
        return vectors
    lengths = np.sqrt(np.add.reduce(vectors * vectors, axis=1, keepdims=True))  # a third of the time of linalg.norm
    unit: np.ndarray = vectors / np.maximum(lengths, SHORTEST)
    return unit
