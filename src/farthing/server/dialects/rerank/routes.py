"""Routes that score pairs of texts, in the dialects of four servers.

Rerank has the shapes of Cohere, Jina and text-embeddings-inference, and score has vLLM's.

In: these servers' request bodies with a few more fields. Out: their response bodies. A body with `texts` is read and
answered as text-embeddings-inference does it, whichever rerank path it comes to. Errors have the shape of the dialect
that owns the path: /rerank is text-embeddings-inference's, /v2/rerank is Cohere's, and the other paths answer with
OpenAI's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from farthing.server.dialects import answer as work
from farthing.server.dialects.cohere import routes as cohere
from farthing.server.dialects.openai.routes import ERRORS, usage
from farthing.server.dialects.rerank.schemas import (
    RerankBody,
    RerankResponse,
    ScoreBody,
    ScoreResponse,
)
from farthing.server.dialects.route import RequestRoute, request_body
from farthing.server.dialects.tei.errors import ERRORS as TEI_ERRORS
from farthing.server.dialects.tei.errors import UNKNOWN_MODEL, TeiRoute
from farthing.server.dialects.tei.routes import rerank_texts
from farthing.server.dialects.tei.schemas import TextsBody, TextScore
from farthing.server.http.body import check_object, read_body, read_object
from farthing.server.models.answers import Scores
from farthing.server.models.service import Service

TRUNCATED_HEADER: dict[str, Any] = {
    "x-farthing-truncated": {
        "description": "Indices of documents that were cut to the context, with commas in between.",
        "schema": {"type": "string"},
    }
}
AnyBody = RerankBody | ScoreBody


def router(service: Service, checks: Sequence[Any]) -> APIRouter:
    """Return the routes of these dialects over `service`, each with the dependencies `checks`."""
    routes = APIRouter(tags=["Rerank"], route_class=RequestRoute, dependencies=checks)

    async def scores_of(request: Request, body: AnyBody) -> Scores:
        return await work.rerank(service, request, body.to_request(), body.model)

    async def rerank(request: Request) -> Response:
        """Order documents by how well they answer a query. The server must have a reranker."""
        content = await read_object(request)
        if "texts" in content and "documents" not in content:
            return await rerank_texts(service, request, content)
        body = check_object(request, content, RerankBody)
        answer = await scores_of(request, body)
        return respond(answer, {"id": request.state.request_id, **reranked(answer, body)})

    async def score(request: Request) -> Response:
        """Score pairs of texts, in the order they are sent. The server must have a reranker."""
        body = await read_body(request, ScoreBody)
        answer = await scores_of(request, body)
        return respond(answer, {"id": request.state.request_id, **scored(answer, body)})

    dialects: dict[str, tuple[type[APIRoute], Any, str]] = {
        "/v1/rerank": (RequestRoute, ERRORS, "Rerank documents (Jina)"),
        "/v2/rerank": (cohere.CohereRoute, cohere.ERRORS, "Rerank documents (Cohere)"),
        "/rerank": (TeiRoute, TEI_ERRORS | UNKNOWN_MODEL, "Rerank texts (text-embeddings-inference)"),
    }
    for path, (route_class, errors, summary) in dialects.items():
        as_texts = route_class is TeiRoute
        routes.add_api_route(
            path,
            rerank,
            methods=["POST"],
            summary=summary,
            response_model=None,
            responses={200: described(list[TextScore] if as_texts else RerankResponse), **errors},
            openapi_extra=request_body(TextsBody if as_texts else RerankBody),
            route_class_override=route_class,
        )
    for path in ("/score", "/v1/score"):
        routes.add_api_route(
            path,
            score,
            methods=["POST"],
            summary="Score pairs (vLLM)",
            response_model=None,
            responses={200: described(ScoreResponse), **ERRORS},
            openapi_extra=request_body(ScoreBody),
            include_in_schema=path == "/score",
        )
    return routes


def described(model: Any) -> dict[str, Any]:
    return {"model": model, "description": "Scores.", "headers": TRUNCATED_HEADER}


def respond(answer: Scores, content: object) -> Response:
    return Response(
        orjson.dumps(content), headers=work.truncated_header(answer.result.truncated), media_type="application/json"
    )


def reranked(answer: Scores, body: RerankBody) -> dict[str, object]:
    results: list[dict[str, object]] = []
    for ranked in answer.result.ranking(body.top_n):
        entry: dict[str, object] = {
            "index": ranked.index,
            "relevance_score": ranked.logit if body.raw_scores else ranked.score,
        }
        if body.return_documents:
            entry["document"] = {"text": body.documents[ranked.index]}
        results.append(entry)
    tokens = {"input_tokens": answer.result.num_tokens, "output_tokens": 0}
    said: dict[str, object] = {
        "model": answer.model,
        "results": results,
        "usage": usage(answer.result),
        "meta": {"tokens": tokens},
    }
    return said | {"tokens": tokens} if body.return_len else said


def scored(answer: Scores, body: ScoreBody) -> dict[str, object]:
    result = answer.result
    values = result.logits if body.use_activation is False else result.scores
    data = [{"index": index, "object": "score", "score": float(value)} for index, value in enumerate(values)]
    return {
        "object": "list",
        "created": int(time.time()),
        "model": answer.model,
        "data": data,
        "usage": usage(answer.result),
    }
