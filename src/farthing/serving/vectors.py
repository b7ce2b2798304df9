"""The last steps from pooled rows to vectors: cut to the asked dimensions, then scale to length 1 (in this order)."""

from __future__ import annotations

import numpy as np

from farthing.core.errors import DimensionsError
from farthing.core.space import VectorSpace
from farthing.models.pooling import ragged
from farthing.models.spec import EmbeddingSpec
from farthing.serving.collector import Collector
from farthing.serving.request import EmbedRequest, EmbedResult


class VectorCollector(Collector):
    """Collects the vectors of a request, for a model whose rows have `hidden` numbers."""

    def __init__(self, request: EmbedRequest, warnings: tuple[str, ...], hidden: int) -> None:
        self._request, self._warnings = request, warnings
        self._dimensions = request.dimensions or hidden
        super().__init__(len(request.inputs), self._dimensions)
        if request.per_token:
            self.rows = ragged([np.zeros((0, self._dimensions), np.float32)] * len(request.inputs))

    def finished(self, rows: np.ndarray) -> np.ndarray:
        if self._request.per_token:
            return ragged([finish_vectors(text, self._dimensions, self._request.normalize) for text in rows])
        return finish_vectors(rows, self._dimensions, self._request.normalize)

    def result(self, space: VectorSpace) -> EmbedResult:
        return EmbedResult(
            self.rows,
            self.num_tokens,
            self.num_computed_tokens,
            space,
            self.truncated,
            self._warnings,
            self.timings,
            self.text_tokens,
            self.unknown,
        )


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
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
