"""Routes that score pairs of texts: rerank in the shapes of Cohere and Jina and of text-embeddings-inference, and score
in vLLM's.

In: their request bodies with a few fields more. Out: their response bodies. A body with `texts` is taken and answered
as text-embeddings-inference does, on whichever rerank path it comes. Errors have OpenAI's shape, as everywhere here.
"""

from __future__ import annotations

import time
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from farthing.server import work
from farthing.server.answers import Scores
from farthing.server.body import check_object, read_body, read_object
from farthing.server.dialects.openai import ERRORS, usage
from farthing.server.dialects.rerank_schemas import (
    RerankBody,
    RerankResponse,
    ScoreBody,
    ScoreResponse,
    TextsBody,
    TextScore,
)
from farthing.server.service import Service

TRUNCATED_HEADER: dict[str, Any] = {
    "x-farthing-truncated": {
        "description": "Indices of documents that were cut to the context, with commas in between.",
        "schema": {"type": "string"},
    }
}
AnyBody = RerankBody | TextsBody | ScoreBody


def router(service: Service) -> APIRouter:
    """The routes of these dialects over `service`."""
    routes = APIRouter(tags=["Rerank"])

    async def scores_of(request: Request, body: AnyBody) -> Scores:
        return await work.rerank(service, request, body.to_request(), body.model)

    async def rerank(request: Request) -> Response:
        """Order documents by how well they answer a query. The server must have a reranker."""
        content = await read_object(request)
        if "texts" in content:
            texts = check_object(content, TextsBody)
            answer = await scores_of(request, texts)
            return respond(answer, text_scores(answer, texts))
        body = check_object(content, RerankBody)
        answer = await scores_of(request, body)
        return respond(answer, {"id": request.state.request_id, **reranked(answer, body)})

    async def score(request: Request) -> Response:
        """Score pairs of texts, in the order they are sent. The server must have a reranker."""
        body = await read_body(request, ScoreBody)
        answer = await scores_of(request, body)
        return respond(answer, {"id": request.state.request_id, **scored(answer, body)})

    for path in ("/v1/rerank", "/rerank", "/v2/rerank"):
        as_texts = path == "/rerank"
        routes.add_api_route(
            path,
            rerank,
            methods=["POST"],
            summary="Rerank texts (text-embeddings-inference)" if as_texts else "Rerank documents (Cohere, Jina)",
            response_model=None,
            responses={200: described(list[TextScore] if as_texts else RerankResponse), **ERRORS},
            openapi_extra=body_of(TextsBody if as_texts else RerankBody),
            include_in_schema=path != "/v2/rerank",
        )
    for path in ("/score", "/v1/score"):
        routes.add_api_route(
            path,
            score,
            methods=["POST"],
            summary="Score pairs (vLLM)",
            response_model=None,
            responses={200: described(ScoreResponse), **ERRORS},
            openapi_extra=body_of(ScoreBody),
            include_in_schema=path == "/score",
        )
    return routes


def described(model: Any) -> dict[str, Any]:
    return {"model": model, "description": "Scores.", "headers": TRUNCATED_HEADER}


def body_of(schema: type[AnyBody]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def respond(answer: Scores, content: object) -> Response:
    return Response(
        orjson.dumps(content), headers=work.truncated_header(answer.result.truncated), media_type="application/json"
    )


def reranked(answer: Scores, body: RerankBody) -> dict[str, object]:
    results: list[dict[str, object]] = []
    for ranked in answer.result.ranking(body.top_n):
        entry: dict[str, object] = {"index": ranked.index, "relevance_score": ranked.score}
        if body.return_documents:
            entry["document"] = {"text": body.documents[ranked.index]}
        results.append(entry)
    meta = {"tokens": {"input_tokens": answer.result.num_tokens}}
    return {"model": answer.model, "results": results, "usage": usage(answer.result), "meta": meta}


def text_scores(answer: Scores, body: TextsBody) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    for ranked in answer.result.ranking():
        entry: dict[str, object] = {"index": ranked.index, "score": ranked.logit if body.raw_scores else ranked.score}
        if body.return_text:
            entry["text"] = body.texts[ranked.index]
        results.append(entry)
    return results


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
