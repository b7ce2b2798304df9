"""How results become bodies and headers."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from farthing.core.space import VectorSpace
from farthing.server.dialects.answer import embed_headers
from farthing.server.dialects.openai.routes import embeddings_object
from farthing.server.dialects.writing import in_whole
from farthing.server.models.service import Answer
from farthing.serving.request import EmbedResult


def as_read(body: object) -> Any:
    """What a client makes of it."""
    return orjson.loads(orjson.dumps(body, default=in_whole))


SPACE = VectorSpace("m", "weights", "last", 1, normalized=True)


def test_every_float32_survives_the_way_through_json() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, size=4096, dtype=np.uint32)
    numbers = bits.view(np.float32)
    vectors = numbers[np.isfinite(numbers)][:4000].reshape(8, 500)
    body = as_read(embeddings_object(EmbedResult(vectors, 8, 8, SPACE), "m", as_base64=False))
    written = np.array([item["embedding"] for item in body["data"]], dtype=np.float32)
    np.testing.assert_array_equal(written, vectors)


@pytest.mark.parametrize("as_base64", [False, True])
def test_vectors_that_are_a_view_with_strides_are_written_as_they_look(as_base64: bool) -> None:
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    views = whole[::-1, 1:3]
    assert as_read(embeddings_object(EmbedResult(views, 3, 3, SPACE), "m", as_base64)) == as_read(
        embeddings_object(EmbedResult(views.copy(), 3, 3, SPACE), "m", as_base64)
    )


def test_usage_tells_computed_tokens_from_saved_ones() -> None:
    body = as_read(embeddings_object(EmbedResult(np.zeros((2, 1)), 30, 18, SPACE), "m", as_base64=False))
    details = {"cached_tokens": 12}
    assert body["usage"] == {"prompt_tokens": 30, "total_tokens": 30, "prompt_tokens_details": details}


def test_the_list_of_truncated_inputs_is_bounded() -> None:
    result = EmbedResult(np.zeros((0, 0)), 0, 0, SPACE, truncated=tuple(range(5000)))
    assert embed_headers(Answer(result, "m"))["x-farthing-truncated"].split(",") == [*map(str, range(100)), "..."]


def test_warnings_share_a_header_and_without_any_there_is_none() -> None:
    vectors = np.zeros((1, 1))
    warned = EmbedResult(vectors, 1, 1, SPACE, warnings=("one", "two"))
    assert embed_headers(Answer(warned, "m"))["x-farthing-warning"] == "one; two"
    assert embed_headers(Answer(EmbedResult(vectors, 1, 1, SPACE), "m")) == {"x-farthing-space": SPACE.id}


def test_what_is_done_to_save_memory_is_a_header() -> None:
    answer = Answer(EmbedResult(np.zeros((1, 1)), 1, 1, SPACE), "m", "smaller batches")
    assert embed_headers(answer)["x-farthing-memory"] == "smaller batches"
