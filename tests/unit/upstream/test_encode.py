from __future__ import annotations

import numpy as np
import pytest

from farthing.core.errors import UpstreamFailedError
from farthing.core.space import VectorSpace
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.upstream.encode import REQUEST_TEXTS, encode_all

TEXTS = [str(number) for number in range(2 * REQUEST_TEXTS + 1)]


def embed(request: EmbedRequest, weights: str = "same") -> EmbedResult:
    rows = np.array([[float(str(text))] for text in request.inputs], dtype=np.float32)
    return EmbedResult(rows, len(rows), len(rows), VectorSpace("m", weights, "mean", 1, normalized=True))


def test_texts_are_asked_for_in_requests_of_bounded_size_and_come_back_in_order() -> None:
    asked: list[EmbedRequest] = []

    def noted(request: EmbedRequest) -> EmbedResult:
        asked.append(request)
        return embed(request)

    found = encode_all(noted, TEXTS, EmbedRequest((), input_type="query"), show_progress=False)
    assert [int(value) for value in np.concatenate(found)[:, 0]] == list(range(len(TEXTS)))
    assert [len(request.inputs) for request in asked] == [REQUEST_TEXTS, REQUEST_TEXTS, 1]
    assert {request.input_type for request in asked} == {"query"}


def test_vectors_of_weights_that_change_on_the_way_are_not_put_together() -> None:
    weights = iter(["first", "second", "second"])
    with pytest.raises(UpstreamFailedError, match="changed its weights"):
        encode_all(lambda request: embed(request, next(weights)), TEXTS, EmbedRequest(()), show_progress=False)
