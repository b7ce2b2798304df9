"""The urgency of a request, from its headers `x-priority` and `x-request-timeout-ms`.

In: an HTTP request and the server's own time limit. Out: an `Urgency`; the shorter of the two time limits counts.
"""

from __future__ import annotations

from starlette.requests import Request

from farthing.core.errors import InputError
from farthing.core.shown import MAX_SHOWN
from farthing.serving.request import LANES, USUAL, Urgency

PRIORITY, TIMEOUT = "x-priority", "x-request-timeout-ms"
MAX_DIGITS = 12
MAX_MS = 10**MAX_DIGITS - 1


def urgency_of(request: Request, timeout_s: float | None) -> Urgency:
    """Return the request's urgency, or `USUAL` itself when nothing else was asked for. The time counts from now.

    Raises:
        InputError: a header has a value that it cannot have.
    """
    priority, asked_ms = request.headers.get(PRIORITY), request.headers.get(TIMEOUT)
    if priority is None and asked_ms is None and timeout_s is None:
        return USUAL
    asked_s = None if asked_ms is None else seconds(asked_ms)
    limits = [limit for limit in (asked_s, timeout_s) if limit is not None]
    lane = next((lane for lane in LANES if lane == (LANES[0] if priority is None else priority).strip().lower()), None)
    if lane is None:
        shown = str(priority)[:MAX_SHOWN]
        raise InputError(f"{PRIORITY} is {shown!r}; it must be {' or '.join(LANES)}.", param=PRIORITY)
    return Urgency(lane, min(limits, default=None))


def seconds(asked_ms: str) -> float:
    is_number = asked_ms.isascii() and asked_ms.isdecimal() and len(asked_ms) <= MAX_DIGITS
    if not is_number or int(asked_ms) < 1:
        raise InputError(
            f"{TIMEOUT} is {asked_ms[:MAX_SHOWN]!r}; it must be a whole number of milliseconds, 1 to {MAX_MS}.",
            param=TIMEOUT,
        )
    return int(asked_ms) / 1000
