"""Cohere's dialect: POST /v2/embed, and /v1/embed for its older client.

In: Cohere's request bodies of texts. Out: its response bodies and errors. Images and mixed inputs are refused, since no
model of this server embeds them. Its /v2/rerank is among the routes that score pairs (`rerank`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from farthing.server.dialects import answer as work
from farthing.server.dialects.cohere.schemas import (
    CohereEmbedBody,
    CohereEmbedResponse,
    CohereError,
    CohereFloatsResponse,
)
from farthing.server.dialects.embedding_types import as_type, check_type
from farthing.server.dialects.route import DialectRoute, errors_of, json_fault, request_body
from farthing.server.dialects.writing import json_rows, respond
from farthing.server.http.body import read_body
from farthing.server.http.errors import Fault
from farthing.server.models.answers import Answer
from farthing.server.models.service import Service

ERRORS = errors_of(CohereError, 400, 404, 413, 429, 500, 503)


class CohereRoute(DialectRoute):
    """Answers errors as ``{"message"}``."""

    @staticmethod
    def answer(fault: Fault) -> Response:
        return json_fault(fault, {"message": fault.message})


def router(service: Service, checks: Sequence[Any]) -> APIRouter:
    """Return the routes of this dialect over `service`, each with the dependencies `checks`."""
    routes = APIRouter(tags=["Cohere"], route_class=CohereRoute, dependencies=checks)

    async def embed(request: Request) -> Response:
        """Embeds texts, in the number types that are asked for."""
        body, path = await read_body(request, CohereEmbedBody), request.scope["path"]
        as_floats = body.embedding_types is None and path.startswith("/v1")
        if body.output_dimension is not None:  # before anything is computed
            for kind in body.types:
                check_type(kind, body.output_dimension)
        answer = await work.embed(service, request, body.to_request(), body.model)

        def write() -> dict[str, object]:
            head = {"id": request.state.request_id, "texts": body.all_texts, "meta": meta(path, answer)}
            vectors = answer.result.vectors
            if as_floats:
                return head | {"response_type": "embeddings_floats", "embeddings": json_rows(vectors)}
            embeddings = {kind: as_type(vectors, kind) for kind in body.types}
            return head | {"response_type": "embeddings_by_type", "embeddings": embeddings}

        num_numbers = answer.result.vectors.size * len(body.types)
        return await respond(write, num_numbers, work.embed_headers(answer))

    for path, answers in (
        ("/v2/embed", CohereEmbedResponse),
        ("/v1/embed", CohereEmbedResponse | CohereFloatsResponse),
    ):
        routes.add_api_route(
            path,
            embed,
            methods=["POST"],
            summary=f"Embed texts ({path[1:3]})",
            response_model=None,
            responses={200: {"model": answers}, **ERRORS},
            openapi_extra=request_body(CohereEmbedBody),
        )
    return routes


def meta(path: str, answer: Answer) -> dict[str, object]:
    billed = {"input_tokens": answer.result.num_tokens}
    return {"api_version": {"version": path[2]}, "billed_units": billed}
