"""Routes that answer errors in their dialect's own shape, and what the OpenAPI document says of them.

A route class catches what is raised while a request is read, checked by dependencies, and answered. Errors outside of
routes (no such path, wrong method) and unexpected errors keep OpenAI's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from farthing.core.errors import FarthingError
from farthing.server.http.body import Body
from farthing.server.http.errors import Fault, request_fault

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Responses = dict[int | str, dict[str, Any]]

# What an error status of a route that computes means, in all dialects.
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
    """A route that calls its endpoint directly where FastAPI's steps in between have nothing to do.

    That is so where the endpoint takes only the request and returns the response itself, and there is no caller to
    check. The steps would take a tenth of the time of an answer from the cache.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        annotations = endpoint.__annotations__
        takes_request = list(annotations) == ["request", "return"] and annotations["return"] in (Response, "Response")
        self._handler = self.answering(endpoint) if takes_request else None

    def answering(self, handle: Handler) -> Handler:
        """Return `handle` with the dialect's answer to its errors."""
        return handle

    def get_route_handler(self) -> Handler:
        return self.answering(super().get_route_handler())

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_called = scope["method"] in (self.methods or ())
        if self._handler is None or not is_called or scope["app"].state.guard.has_checks:
            await super().handle(scope, receive, send)
            return
        response = await self._handler(Request(scope, receive, send))
        await response(scope, receive, send)


class DialectRoute(RequestRoute):
    """Base of a dialect's route class, whose `answer` says how the dialect tells its clients of a fault."""

    @staticmethod
    def answer(fault: Fault) -> Response:
        raise NotImplementedError

    def answering(self, handle: Handler) -> Handler:
        async def handle_or_answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (FarthingError, HTTPException) as error:
                return self.answer(request_fault(request, error))

        return handle_or_answer


def json_fault(fault: Fault, content: object, status: int | None = None) -> Response:
    """Return `fault` as the JSON of `content`, with the fault's own status or another."""
    headers = dict(fault.headers)
    return Response(orjson.dumps(content), status or fault.status, headers=headers, media_type="application/json")


def errors_of(model: type[Any], *statuses: int) -> Responses:
    """Return what the OpenAPI document says of errors with these statuses, whose bodies are a `model`. Without any
    status, these are all errors of routes that compute."""
    return {status: {"model": model, "description": ERRORS[status]} for status in statuses or ERRORS}


def request_body(schema: type[Body]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route whose body is read as `schema`."""
    content = {"application/json": {"schema": inlined(schema.model_json_schema())}}
    return {"requestBody": {"required": True, "content": content}}


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema without `$defs`, because references to them would point nowhere inside a larger document."""
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
