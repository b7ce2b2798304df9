"""Errors as text-embeddings-inference returns them, and the times that it puts into headers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from farthing.server.dialects.route import DialectRoute, json_fault
from farthing.server.dialects.tei.schemas import TeiError
from farthing.server.http.errors import Fault

if TYPE_CHECKING:
    from farthing.serving.request import EmbedResult, RerankResult

# By code, then by status: its router/src/http/server.rs. Too many texts give 422 there and 413 in its documentation.
BY_CODE = {
    "empty_input": (400, "Empty"),
    "too_many_texts": (413, "Validation"),
    "too_many_tokens": (413, "Validation"),
    "invalid_token": (422, "Tokenizer"),
    "invalid_text": (422, "Tokenizer"),
    "wrong_task": (424, "Backend"),
}
BY_STATUS = {
    400: (422, "Validation"),
    429: (429, "Overloaded"),
    500: (424, "Backend"),
    503: (503, "Unhealthy"),
}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": TeiError, "description": "There is nothing to embed."},
    413: {
        "model": TeiError,
        "description": "The body is larger than the server takes, or has too many texts or tokens.",
    },
    422: {"model": TeiError, "description": "The request cannot be served as it is."},
    424: {"model": TeiError, "description": "The computation failed, or the model does not do this."},
    429: {"model": TeiError, "description": "Too many texts are waiting; try again."},
    503: {"model": TeiError, "description": "The model is loading, memory is short, or the server is stopping."},
}
NOT_WORK: dict[int | str, dict[str, Any]] = {
    status: ERRORS[status] for status in (400, 413, 422, 424, 503)
}  # for routes that wait for no model
UNKNOWN_MODEL: dict[int | str, dict[str, Any]] = {  # for the path where a query and texts may name a model
    404: {"model": TeiError, "description": "This server does not serve that model."}
}
TIME_HEADERS: dict[str, Any] = {
    "x-compute-type": {"description": "cpu or gpu.", "schema": {"type": "string"}},
    "x-compute-characters": {"description": "Characters of the texts.", "schema": {"type": "integer"}},
    "x-compute-tokens": {"description": "Tokens of the texts.", "schema": {"type": "integer"}},
    "x-compute-time": {"description": "As x-total-time.", "schema": {"type": "integer"}},
    "x-total-time": {"description": "Milliseconds in all.", "schema": {"type": "integer"}},
    "x-tokenization-time": {"description": "Milliseconds of a text, on average.", "schema": {"type": "integer"}},
    "x-queue-time": {"description": "Milliseconds of a text, on average.", "schema": {"type": "integer"}},
    "x-inference-time": {"description": "Milliseconds of a text, on average.", "schema": {"type": "integer"}},
}


class TeiRoute(DialectRoute):
    """Answers errors as ``{"error", "error_type"}``."""

    @staticmethod
    def answer(fault: Fault) -> Response:
        by_status = BY_STATUS.get(fault.status, (fault.status, "Validation"))
        status, error_type = BY_CODE.get(fault.code, by_status)
        return json_fault(fault, {"error": fault.message, "error_type": error_type}, status)


def time_headers(
    started_s: float, num_chars: int, result: EmbedResult | RerankResult, compute_type: str
) -> dict[str, str]:
    """Return times in whole milliseconds as headers; `started_s` is the `time.perf_counter` when the request came."""
    times = result.timings
    total_ms = ms(time.perf_counter() - started_s)
    return {
        "x-compute-type": compute_type,
        "x-compute-time": total_ms,
        "x-compute-characters": str(num_chars),
        "x-compute-tokens": str(result.num_tokens),
        "x-total-time": total_ms,
        "x-tokenization-time": ms(times.tokenize_s),
        "x-queue-time": ms(times.queue_s),
        "x-inference-time": ms(times.compute_s),
    }


def ms(seconds: float) -> str:
    return str(int(seconds * 1000))
