"""Ollama's dialect for embeddings: /api/embed and /api/embeddings, and the routes that its clients ask before.

In: Ollama's request bodies. Out: its response bodies and errors. A model's name may end with `:latest`. Nothing is
pulled, created or deleted, and no text is generated.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from farthing.core.errors import EmptyInputError
from farthing.core.version import __version__
from farthing.server.dialects import answer as work
from farthing.server.dialects.ollama.models import NamedModels
from farthing.server.dialects.ollama.schemas import (
    OllamaEmbedBody,
    OllamaEmbedResponse,
    OllamaError,
    OllamaModels,
    OllamaPromptBody,
    OllamaPromptResponse,
    OllamaRunningModels,
    OllamaShowBody,
    OllamaShowResponse,
    OllamaVersion,
)
from farthing.server.dialects.route import DialectRoute, errors_of, json_fault, request_body
from farthing.server.dialects.writing import JsonRows, json_row, json_rows, respond
from farthing.server.http.body import read_body
from farthing.server.http.errors import Fault
from farthing.server.http.urgency import urgency_of
from farthing.server.models.service import Service

ERRORS = errors_of(OllamaError, 400, 404, 413, 429, 500, 503)
ABOUT_A_MODEL = errors_of(OllamaError, 400, 404, 413, 503)


class OllamaRoute(DialectRoute):
    """Answers errors as ``{"error"}``."""

    @staticmethod
    def answer(fault: Fault) -> Response:
        return json_fault(fault, {"error": fault.message})


def router(service: Service, checks: Sequence[Any]) -> APIRouter:
    """Return the routes of this dialect over `service`, each with the dependencies `checks`."""
    routes = APIRouter(tags=["Ollama"], route_class=OllamaRoute, dependencies=checks)
    models = NamedModels(service)

    async def embed(request: Request) -> Response:
        """Returns one vector of length 1 per text, and none for an empty input."""
        started_ns = time.perf_counter_ns()
        body = await read_body(request, OllamaEmbedBody)
        if not body.input:
            service.choose(body.model, "embed")  # an unknown model is an error all the same
            urgency_of(request, None)  # the request's headers are checked all the same
            return await respond(lambda: embedded(body.model or service.default.name, [], 0, started_ns), 0, {})
        answer = await work.embed(service, request, body.to_request(), body.model)
        result = answer.result

        def write() -> dict[str, object]:
            return embedded(answer.model, json_rows(result.vectors), result.num_tokens, started_ns)

        return await respond(write, result.vectors.size, work.embed_headers(answer))

    async def embed_prompt(request: Request) -> Response:
        """Returns one vector, which is not scaled to any length. This is Ollama's older route."""
        body = await read_body(request, OllamaPromptBody)
        if not body.prompt:
            raise EmptyInputError("'prompt' is required; send a text.", param="prompt")
        answer = await work.embed(service, request, body.to_request(), body.model)
        vector = orjson.Fragment(json_row(0, answer.result.vectors[0]))
        return await respond(lambda: {"embedding": vector}, 1, work.embed_headers(answer))

    async def show(request: Request) -> dict[str, object]:
        """Returns what is known of a model."""
        body = await read_body(request, OllamaShowBody)
        return models.shown(body.model or body.name)

    async def tags() -> dict[str, object]:
        return {"models": models.listed()}

    async def running() -> dict[str, object]:
        return {"models": models.running()}

    async def version() -> dict[str, str]:
        return {"version": __version__}

    def add(method: str, path: str, handler: Any, summary: str, answers: Any, schema: Any, errors: Any) -> None:
        routes.add_api_route(
            path,
            handler,
            methods=[method],
            summary=summary,
            response_model=None,
            responses={200: {"model": answers}, **errors},
            openapi_extra=request_body(schema) if schema else None,
        )

    add("POST", "/api/embed", embed, "Embed texts", OllamaEmbedResponse, OllamaEmbedBody, ERRORS)
    add("POST", "/api/embeddings", embed_prompt, "Embed a text", OllamaPromptResponse, OllamaPromptBody, ERRORS)
    add("POST", "/api/show", show, "Describe a model", OllamaShowResponse, OllamaShowBody, ABOUT_A_MODEL)
    add("GET", "/api/tags", tags, "List the models", OllamaModels, None, {})
    add("GET", "/api/ps", running, "List the loaded models", OllamaRunningModels, None, {})
    add("GET", "/api/version", version, "Version", OllamaVersion, None, {})
    return routes


def embedded(model: str, rows: JsonRows | list[Any], num_tokens: int, started_ns: int) -> dict[str, object]:
    """Return the response body. Durations are in nanoseconds; models are loaded before anything is answered."""
    return {
        "model": model,
        "embeddings": rows,
        "total_duration": time.perf_counter_ns() - started_ns,
        "load_duration": 0,
        "prompt_eval_count": num_tokens,
    }
