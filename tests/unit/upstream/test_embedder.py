from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from farthing.core.errors import UpstreamFailedError
from farthing.core.space import VectorSpace
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.serving.text.vocabulary import Unknown
from farthing.upstream.embedder import REQUEST_TEXTS, UpstreamEmbedder

TEXTS = [str(number) for number in range(2 * REQUEST_TEXTS + 1)]


def embed(request: EmbedRequest, weights: str = "same") -> EmbedResult:
    rows = np.array([float(str(text)) for text in request.inputs], dtype=np.float32)[:, None]
    space = VectorSpace("m", weights, "mean", 1, normalized=True)
    tens = tuple(place for place, text in enumerate(request.inputs) if str(text).endswith("0"))
    told = {"truncated": tens, "unknown": Unknown(tens), "warnings": ("one",), "text_tokens": (2,) * len(rows)}
    return EmbedResult(rows, 2 * len(rows), len(rows), space, **told)  # type: ignore[arg-type]


def encode_all(ask: Callable[[EmbedRequest], EmbedResult], request: EmbedRequest) -> EmbedResult:
    """As an upstream embedder does it, with `ask` in place of the servers."""
    embedder = UpstreamEmbedder.__new__(UpstreamEmbedder)
    embedder._embed_and_wait = ask  # type: ignore[method-assign]
    return embedder.encode_request(request)


def test_texts_are_asked_for_in_requests_of_bounded_size_and_come_back_in_order() -> None:
    asked: list[EmbedRequest] = []

    def noted(request: EmbedRequest) -> EmbedResult:
        asked.append(request)
        return embed(request)

    found = encode_all(noted, EmbedRequest(TEXTS, input_type="query"))
    assert [int(value) for value in found.vectors[:, 0]] == list(range(len(TEXTS)))
    assert found.truncated == found.unknown.texts == tuple(range(0, len(TEXTS), 10))
    assert (found.num_tokens, found.num_computed_tokens) == (2 * len(TEXTS), len(TEXTS))
    assert (found.warnings, len(found.text_tokens)) == (("one",), len(TEXTS))
    assert [len(request.inputs) for request in asked] == [REQUEST_TEXTS, REQUEST_TEXTS, 1]
    assert {request.input_type for request in asked} == {"query"}


def test_no_texts_are_one_request() -> None:
    assert encode_all(embed, EmbedRequest(())).num_tokens == 0


def test_vectors_of_weights_that_change_on_the_way_are_not_put_together() -> None:
    weights = iter(["first", "second", "second"])
    with pytest.raises(UpstreamFailedError, match="changed its weights"):
        encode_all(lambda request: embed(request, next(weights)), EmbedRequest(TEXTS))
