"""The OpenAPI document: FastAPI's own, and what the routes themselves do not know.

In: the application and its guard. Out: the document with keys, with the headers that every request for work may have,
and with the statuses that connections, keys, limits and time limits answer with, in the shape of each route's dialect.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from farthing.server.http.urgency import MAX_MS, PRIORITY, TIMEOUT
from farthing.server.pages.openapi_answers import tell_answer
from farthing.serving.request import LANES

if TYPE_CHECKING:
    from fastapi import FastAPI

    from farthing.server.callers.guard import Guard

Json = dict[str, Any]

OPENAI_ERROR = "ErrorResponse"
SHAPES = {"Ollama": "OllamaError"}  # for dialects with routes that say nothing of errors themselves
BAD_KEY = "No API key was sent, or one that this server does not know."
OF_A_PAGE = "A web page of another origin sent it, or the Host header has a name that the settings do not allow."
OTHER_CODING = "The Content-Encoding is neither gzip nor deflate."
LATE_BODY = "The body did not come in time."
OVER_THE_LIMIT = "The limit of requests or tokens a minute is used up, or too many wrong keys came from this address."
LARGE_HEAD = "The line and headers of the request are larger than the server takes."
UPSTREAM_FAILED = "The server that has the model failed."
TOO_LATE = "The time limit of the request passed."
URGENCY_HEADERS: list[Json] = [
    {
        "name": PRIORITY,
        "in": "header",
        "required": False,
        "description": "Interactive requests go before bulk ones (default: interactive).",
        "schema": {"type": "string", "enum": list(LANES)},
    },
    {
        "name": TIMEOUT,
        "in": "header",
        "required": False,
        "description": "Milliseconds after which the answer is of no use (default: the server's time limit).",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_MS},
    },
]
KEYS: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def install(app: FastAPI, guard: Guard) -> None:
    """Make `app` return the complete document, which is made when it is first asked for."""
    generate: Callable[[], Json] = app.openapi
    app.openapi = cache(lambda: completed(generate(), guard))  # type: ignore[method-assign]


def completed(document: Json, guard: Guard) -> Json:
    """Add what is missing to `document`, and return it."""
    if guard.has_keys:
        document["components"]["securitySchemes"] = KEYS
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            is_guarded = not guard.is_public(method.upper(), path)
            tell_answer(method.upper(), path, operation)
            complete(operation, has_body=method == "post", is_guarded=is_guarded, guard=guard)
    return document


def complete(operation: Json, *, has_body: bool, is_guarded: bool, guard: Guard) -> None:
    """Add to one operation what its own description leaves out."""
    responses: Json = operation["responses"]
    shape, is_work = error_shape(operation), "429" in responses
    more = {"431": described(LARGE_HEAD, OPENAI_ERROR)}  # the connection gives this answer, and knows no routes
    if has_body:
        more |= {"408": described(LATE_BODY, shape), "415": described(OTHER_CODING, shape)}
    if is_work:
        more |= {"502": described(UPSTREAM_FAILED, shape), "504": described(TOO_LATE, shape)}
        operation["parameters"] = [*operation.get("parameters", []), *URGENCY_HEADERS]
    if not guard.has_keys:
        more["403"] = described(OF_A_PAGE, OPENAI_ERROR)
    if is_guarded and (guard.has_limits or guard.has_keys):
        more["429"] = described(OVER_THE_LIMIT, shape)
    if is_guarded and guard.has_keys:
        more["401"] = described(BAD_KEY, shape)
        operation["security"] = [{name: []} for name in KEYS]
    operation["responses"] = dict(sorted((more | responses).items()))


def error_shape(operation: Json) -> str:
    """Return the name of the schema in which the operation's dialect answers errors."""
    for status, response in operation["responses"].items():
        schema = response.get("content", {}).get("application/json", {}).get("schema", {})
        if not status.startswith("2") and "$ref" in schema:
            return str(schema["$ref"].rpartition("/")[2])
    return SHAPES.get(operation["tags"][0], OPENAI_ERROR)


def described(description: str, shape: str) -> Json:
    schema = {"$ref": f"#/components/schemas/{shape}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
