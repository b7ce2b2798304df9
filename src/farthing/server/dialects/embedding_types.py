"""Vectors in the number types that Cohere's embed API names.

binary and ubinary are as Cohere documents them and sentence-transformers computes them (`quantize_embeddings`): one bit
per component, 1 where it is positive, eight to a byte, the first component in the highest bit. binary is ubinary minus
128.

For int8 and uint8, Cohere gives the ranges and no rule. sentence-transformers takes the range of each component from
calibration texts, which a server does not have; ranges taken from the texts of one request would make the vectors of
two requests incomparable. Here each vector is scaled by itself, so that its largest component becomes 127. This keeps
its direction and clips nothing: compare such vectors by cosine. uint8 is int8 plus 128.
"""

from __future__ import annotations

import base64
from typing import Literal

import numpy as np

from farthing.core.errors import DimensionsError
from farthing.server.dialects.writing import JsonRows, json_rows

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]

BITS = 8
LARGEST = 127


def check_type(kind: EmbeddingType, dimensions: int, param: str = "output_dimension") -> None:
    """Raise `DimensionsError` where components do not fill whole bytes; `param` is the field for the dimensions."""
    if kind in ("binary", "ubinary") and dimensions % BITS:
        raise DimensionsError(
            f"{kind} packs {BITS} dimensions into a byte; {dimensions} is no multiple of {BITS}.",
            param=param,
        )


def as_type(vectors: np.ndarray, kind: EmbeddingType) -> JsonRows:
    """Return float32 [texts, dimensions] as JSON numbers or strings, one entry per text.

    Raises `DimensionsError` as `check_type`.
    """
    check_type(kind, vectors.shape[1])
    if kind == "base64":
        little = np.ascontiguousarray(vectors, dtype="<f4")
        return JsonRows(little, lambda _, vector: b'"' + base64.b64encode(vector.tobytes()) + b'"')
    return json_rows(numbers(vectors, kind))


def numbers(vectors: np.ndarray, kind: EmbeddingType) -> np.ndarray:
    """Return float32 [texts, dimensions] as `kind`; if packed, uint8 or int8 [texts, dimensions / 8]."""
    if kind == "ubinary":
        packed: np.ndarray = np.packbits(vectors > 0, axis=-1)
        return packed
    if kind == "binary":
        signed: np.ndarray = (numbers(vectors, "ubinary").astype(np.int16) - 128).astype(np.int8)
        return signed
    if kind in ("int8", "uint8"):
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        scaled = np.rint(vectors / np.where(largest > 0, largest, 1) * LARGEST).astype(np.int16)
        whole: np.ndarray = scaled.astype(np.int8) if kind == "int8" else (scaled + 128).astype(np.uint8)
        return whole
    return vectors
