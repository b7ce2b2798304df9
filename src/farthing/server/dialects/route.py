"""Routes that answer errors in their dialect's own shape, and what they say of themselves in the OpenAPI document.

A route class catches what is raised while a request is read, checked by dependencies, and answered; errors outside of
routes (no such path, wrong method) and unexpected ones keep OpenAI's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from farthing.core.errors import FarthingError
from farthing.server.http.body import Body
from farthing.server.http.errors import Fault, request_fault

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Responses = dict[int | str, dict[str, Any]]

# What the errors of routes that compute mean, in all dialects.
ERRORS = {
    400: "The request cannot be served as it is.",
    404: "This server does not serve that model.",
    413: "The body is larger than the server takes.",
    429: "Too many texts are waiting; try again.",
    500: "The computation failed.",
    503: "The model is loading, memory is short, or the server is stopping.",
    504: "The time limit of the request passed.",
}


class RequestRoute(APIRoute):
    """A route that calls its endpoint without FastAPI's steps in between, where these have nothing to do: it takes the
    request alone and answers it itself, and there is no caller to check. They take a tenth of the time of an answer
    out of the cache."""

    def get_route_handler(self) -> Handler:
        handle, endpoint = super().get_route_handler(), self.endpoint
        annotations = endpoint.__annotations__
        if list(annotations) != ["request", "return"] or annotations["return"] not in (Response, "Response"):
            return handle

        async def handle_or_call(request: Request) -> Response:
            has_checks = request.app.state.guard.has_checks
            response: Response = await (handle if has_checks else endpoint)(request)
            return response

        return handle_or_call


class DialectRoute(RequestRoute):
    """Base of a dialect's route class, which says in `answer` how its clients are told of a fault."""

    @staticmethod
    def answer(fault: Fault) -> Response:
        raise NotImplementedError

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handle_or_answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (FarthingError, HTTPException) as error:
                return self.answer(request_fault(request, error))

        return handle_or_answer


def json_fault(fault: Fault, content: object, status: int | None = None) -> Response:
    """`fault` as the JSON of `content`, with its own status or another."""
    headers = dict(fault.headers)
    return Response(orjson.dumps(content), status or fault.status, headers=headers, media_type="application/json")


def errors_of(model: type[Any], *statuses: int) -> Responses:
    """What the OpenAPI document says of errors with these statuses, whose bodies are a `model`; of all those of routes
    that compute, where none is named."""
    return {status: {"model": model, "description": ERRORS[status]} for status in statuses or ERRORS}


def request_body(schema: type[Body]) -> dict[str, Any]:
    """What `openapi_extra` says of a route whose body is read as `schema`."""
    content = {"application/json": {"schema": inlined(schema.model_json_schema())}}
    return {"requestBody": {"required": True, "content": content}}


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema without `$defs`, whose references would point nowhere inside of a larger document."""
    definitions = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = definitions[node["$ref"].rpartition("/")[2]]
            return inline(target | {name: value for name, value in node.items() if name != "$ref"})
        return {name: inline(value) for name, value in node.items()}

    whole: dict[str, Any] = inline(schema)
    return whole
