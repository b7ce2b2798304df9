"""Number types of vectors, against the library that Cohere's own documentation agrees with."""

from __future__ import annotations

import base64

import numpy as np
import orjson
import pytest
from sentence_transformers.util.quantization import quantize_embeddings

from farthing.core.errors import DimensionsError
from farthing.server.dialects.embedding_types import EmbeddingType, as_type, numbers
from farthing.server.dialects.writing import in_whole


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rows = np.random.default_rng(7).normal(size=(20, 64)).astype(np.float32)
    rows[0] = 0
    rows[1, 3] = 100  # one that outweighs all others
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)


@pytest.mark.parametrize("kind", ["binary", "ubinary"])
def test_bits_are_packed_as_sentence_transformers_packs_them(vectors: np.ndarray, kind: EmbeddingType) -> None:
    packed = numbers(vectors, kind)
    expected = quantize_embeddings(vectors, precision=kind)
    assert packed.dtype == expected.dtype
    assert packed.tolist() == expected.tolist()
    with pytest.raises(DimensionsError, match="20 is no multiple of 8"):
        as_type(vectors[:, :20], kind)


def test_bytes_keep_the_direction_of_each_vector(vectors: np.ndarray) -> None:
    whole = numbers(vectors, "int8")
    assert (whole.dtype, whole.shape) == (np.dtype(np.int8), vectors.shape)
    assert np.abs(whole.astype(int)).max(axis=1).tolist() == [0, *[127] * 19]
    lengths = np.linalg.norm(whole.astype(float), axis=1) * np.linalg.norm(vectors, axis=1)
    cosines = (whole * vectors).sum(axis=1)[2:] / lengths[2:]
    assert cosines.min() > 0.9999
    shifted = numbers(vectors, "uint8")
    assert shifted.dtype == np.uint8
    assert (shifted.astype(int) - 128).tolist() == whole.tolist()


def test_a_vector_is_the_same_in_any_company(vectors: np.ndarray) -> None:
    for kind in ("int8", "uint8", "binary", "ubinary"):
        assert numbers(vectors[3:4], kind).tolist() == numbers(vectors, kind)[3:4].tolist()  # type: ignore[arg-type]


def test_floats_and_base64_are_exact(vectors: np.ndarray) -> None:
    cut = vectors[:, :10]  # not contiguous
    assert (
        np.array(orjson.loads(orjson.dumps(as_type(cut, "float"), default=in_whole)), np.float32).tolist()
        == cut.tolist()
    )
    decoded = [np.frombuffer(base64.b64decode(text), "<f4").tolist() for text in as_type(cut, "base64").written()]
    assert decoded == cut.tolist()
