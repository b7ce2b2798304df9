"""The one table from our errors to HTTP, and the answer in OpenAI's error shape.

In: an exception. Out: status, headers and ``{"error": {"message", "type", "param", "code"}}``. For exceptions that are
not ours, the answer holds a request id and nothing else: their text could contain a user's data.
`farthing.server.observe.middleware` catches and logs them.
"""

from __future__ import annotations

import http
import logging
import math
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from farthing.core.deferred import dataclass
from farthing.core.errors import (
    AuthenticationError,
    DeadlineError,
    DiskFullError,
    EngineError,
    FarthingError,
    IndexAccessError,
    IndexBusyError,
    IndexExistsError,
    IndexNotFoundError,
    IndexPlaceError,
    InputError,
    MemoryShortError,
    QueueFullError,
    RateLimitError,
    RequestTooLargeError,
    ServingError,
    UnknownModelError,
    UnreadableIndexError,
    UpstreamBusyError,
    UpstreamFailedError,
    WrongSpaceError,
    WrongTaskError,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

logger = logging.getLogger(__name__)

METHODS = ("DELETE", "GET", "POST")  # the methods that routes answer
RETRY_AFTER = {"retry-after": "1"}  # seconds

# The first row whose type an error is an instance of applies: status, OpenAI type, headers.
TABLE: tuple[tuple[type[FarthingError], int, str, Mapping[str, str]], ...] = (
    (RequestTooLargeError, 413, "invalid_request_error", {}),
    (InputError, 400, "invalid_request_error", {}),
    (UnknownModelError, 404, "invalid_request_error", {}),
    (WrongTaskError, 400, "invalid_request_error", {}),
    (IndexNotFoundError, 404, "invalid_request_error", {}),
    (IndexExistsError, 409, "invalid_request_error", {}),
    (IndexBusyError, 409, "invalid_request_error", {}),
    (IndexPlaceError, 409, "invalid_request_error", {}),
    (UnreadableIndexError, 409, "invalid_request_error", {}),
    (IndexAccessError, 403, "permission_error", {}),
    (DiskFullError, 507, "server_error", {}),
    (WrongSpaceError, 409, "invalid_request_error", {}),
    (AuthenticationError, 401, "invalid_request_error", {"www-authenticate": "Bearer"}),
    (RateLimitError, 429, "rate_limit_error", {}),  # the error itself says how long to wait
    (QueueFullError, 429, "rate_limit_error", RETRY_AFTER),
    (DeadlineError, 504, "timeout_error", {}),
    (MemoryShortError, 503, "service_unavailable_error", {"retry-after": "10"}),  # a step up waits so long too
    (UpstreamBusyError, 429, "rate_limit_error", RETRY_AFTER),
    (UpstreamFailedError, 502, "server_error", RETRY_AFTER),
    (ServingError, 503, "service_unavailable_error", RETRY_AFTER),
    (EngineError, 500, "server_error", {}),
    (FarthingError, 500, "server_error", {}),
)


@dataclass(frozen=True)
class Fault:
    """What a client is told about an error, before a dialect gives it its shape."""

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def fault_of(error: FarthingError) -> Fault:
    """Return the fault by the table's row for `error`, with the error's own message, param and code."""
    for kind, status, type_name, headers in TABLE:
        if isinstance(error, kind):
            if isinstance(error, (QueueFullError, RateLimitError)) and error.retry_after_s is not None:
                headers = {"retry-after": str(max(1, math.ceil(error.retry_after_s)))}
            return Fault(status, type_name, error.code, str(error), error.param, headers)
    raise AssertionError("the table ends with the root of the tree")


def http_fault(request: Request, error: HTTPException) -> Fault:
    """Return the fault for an error of the HTTP layer itself: no such route, wrong method, body too large."""
    phrase = http.HTTPStatus(error.status_code).phrase
    message, path, headers = error.detail, request.scope["path"], dict(error.headers or {})
    if error.status_code == 404:
        message = f"There is no {path}. /docs lists what this server answers."
    elif error.status_code == 405:
        allowed = ", ".join(allowed_methods(request))
        message = f"{path} does not answer {request.method}; it takes {allowed}."
        headers = {"allow": allowed}
    code = phrase.lower().replace(" ", "_")
    return Fault(error.status_code, "invalid_request_error", code, message, headers=headers)


def allowed_methods(request: Request) -> list[str]:
    """Return the methods of all routes at the request's path; Starlette knows only those of one route."""
    found: set[str] = set()
    for method in METHODS:
        probe = {**request.scope, "method": method}
        if any(route.matches(probe)[0] is Match.FULL for route in request.app.routes):
            found |= {method, "HEAD"} if method == "GET" else {method}
    return sorted(found)


def unexpected_fault(request_id: str) -> Fault:
    message = f"An unexpected error happened in the server. Its log has the details under request {request_id}."
    return Fault(500, "server_error", "internal_error", message)


def request_fault(request: Request, error: FarthingError | HTTPException) -> Fault:
    """Return what the client of `request` is told about an error. Errors of the computation are logged too. Afterwards
    the error has no traceback."""
    try:
        return logged_fault(request, error)
    finally:
        let_frames_go(error)


def let_frames_go(error: BaseException) -> None:
    """Remove the tracebacks of an error that has been answered, and of its causes.

    The error, its frames, and the futures in them that hold the error form a cycle. It also holds the request's body,
    and would stay until the garbage collector runs.
    """
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        found = todo.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            found.__traceback__ = None
            todo += [found.__cause__, found.__context__]


def logged_fault(request: Request, error: FarthingError | HTTPException) -> Fault:
    if isinstance(error, HTTPException):
        return http_fault(request, error)
    fault = fault_of(error)
    if fault.status == 500:
        logger.error("Request %s failed", request.state.request_id, exc_info=error)
    return fault


def openai_answer(fault: Fault) -> Response:
    """Return `fault` as OpenAI's clients expect it."""
    error = {"message": fault.message, "type": fault.type, "param": fault.param, "code": fault.code}
    return Response(
        orjson.dumps({"error": error}), fault.status, headers=dict(fault.headers), media_type="application/json"
    )


def install(app: FastAPI) -> None:
    """Make `app` answer our errors and the HTTP layer's own in OpenAI's shape."""

    async def on_error(request: Request, error: FarthingError | HTTPException) -> Response:
        return openai_answer(request_fault(request, error))

    app.add_exception_handler(FarthingError, on_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_error)  # type: ignore[arg-type]
