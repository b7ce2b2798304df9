"""The OpenAI dialect: POST /v1/embeddings and GET /v1/models.

In: OpenAI's request bodies with a few more fields. Out: OpenAI's response bodies to the letter. Facts that have no
place in them (warnings, which texts were cut) go into headers.
"""

from __future__ import annotations

import time
from binascii import b2a_base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from farthing.server.dialects.answer import embed, embed_headers
from farthing.server.dialects.embedding_types import EmbeddingType, check_type, numbers
from farthing.server.dialects.openai.schemas import (
    EmbeddingsRequest,
    EmbeddingsResponse,
    ErrorResponse,
    Model,
    ModelList,
)
from farthing.server.dialects.route import RequestRoute, errors_of
from farthing.server.dialects.writing import JsonRows, json_row, respond
from farthing.server.http.body import read_body
from farthing.server.models.service import Service
from farthing.serving.request import EmbedResult, RerankResult

ERRORS = errors_of(ErrorResponse)
EMBEDDINGS: dict[str, Any] = {
    "model": EmbeddingsResponse,
    "description": "One vector an input.",
    "headers": {
        "x-farthing-space": {
            "description": "Identity of these vectors' space: only vectors of the same one can be compared.",
            "schema": {"type": "string"},
        },
        "x-farthing-memory": {
            "description": "What is being done to save memory, if anything is.",
            "schema": {"type": "string"},
        },
        "x-farthing-cache": {
            "description": "Texts that were found in the cache of vectors and that were not: hits=31, misses=1.",
            "schema": {"type": "string"},
        },
        "x-farthing-warning": {
            "description": "What lowers the quality of these vectors, if anything does.",
            "schema": {"type": "string"},
        },
        "x-farthing-ignored": {
            "description": "Names of fields of the body that are not known here and were not looked at.",
            "schema": {"type": "string"},
        },
        "x-farthing-truncated": {
            "description": "Indices of inputs that were cut to the context, with commas in between.",
            "schema": {"type": "string"},
        },
        "x-farthing-unknown": {
            "description": "Indices of inputs of which the model's vocabulary has no word: their vectors say nothing.",
            "schema": {"type": "string"},
        },
    },
}
EMBEDDINGS_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": EmbeddingsRequest.model_json_schema()}},
    }
}


def router(service: Service, checks: Sequence[Any]) -> APIRouter:
    """Return the routes of this dialect over `service`, each with the dependencies `checks`."""
    routes = APIRouter(tags=["OpenAI"], route_class=RequestRoute, dependencies=checks)
    created = int(time.time())

    def card(name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": created, "owned_by": "farthing"}

    async def create_embeddings(request: Request) -> Response:
        """Embeds texts, in the order in which they are sent."""
        body = await read_body(request, EmbeddingsRequest)
        if body.dimensions is not None and body.output_dtype is not None:  # before anything is computed
            check_type(body.output_dtype, body.dimensions, "dimensions")
        answer = await embed(service, request, body.to_embed_request(), body.model)
        result, kind = answer.result, body.output_dtype or "float"
        return await respond(
            lambda: embeddings_object(result, answer.model, body.as_base64, kind),
            result.vectors.size,
            embed_headers(answer),
        )

    for path in ("/v1/embeddings", "/embeddings"):
        routes.add_api_route(
            path,
            create_embeddings,
            methods=["POST"],
            summary="Embed texts",
            response_model=None,
            responses={200: EMBEDDINGS, **ERRORS},
            openapi_extra=EMBEDDINGS_BODY,
            include_in_schema=path.startswith("/v1"),
        )

    @routes.get("/v1/models", response_model=None, responses={200: {"model": ModelList}}, summary="List the models")
    async def list_models() -> dict[str, object]:
        return {"object": "list", "data": [card(name) for name in service.models.listed_names]}

    @routes.get(
        "/v1/models/{name:path}",
        response_model=None,
        responses={200: {"model": Model}, "4XX": ERRORS[404]},  # FastAPI would put its own 422 beside a 404 key
        summary="Describe a model",
    )
    async def get_model(name: str) -> dict[str, object]:
        return card(service.models.listed_name(name))

    return routes


def embeddings_object(
    result: EmbedResult, model: str, as_base64: bool, kind: EmbeddingType = "float"
) -> dict[str, object]:
    """Return the response body."""
    vectors = np.ascontiguousarray(result.vectors, dtype="<f4")
    if kind != "float":
        check_type(kind, vectors.shape[1], "dimensions")
        vectors = numbers(vectors, kind)

    def write(index: int, vector: np.ndarray) -> bytes:
        embedding = b'"%b"' % b2a_base64(vector.data, newline=False) if as_base64 else json_row(index, vector)
        return b'{"object":"embedding","index":%d,"embedding":%b}' % (index, embedding)

    return {"object": "list", "data": JsonRows(vectors, write), "model": model, "usage": usage(result)}


def usage(result: EmbedResult | RerankResult) -> dict[str, object]:
    """Return the tokens of the request, and how many of them were not computed for it, under OpenAI's names."""
    return {
        "prompt_tokens": result.num_tokens,
        "total_tokens": result.num_tokens,
        "prompt_tokens_details": {"cached_tokens": result.num_tokens - result.num_computed_tokens},
    }
