"""ASGI middleware around everything: request ids, one access line a request, request metrics, unexpected errors.

In: any HTTP request. Out: the same with an `x-request-id` header on its answer. The line has method, path, status,
time, the counts that a route left with `count_work`, and the name of the API key; never any text. An exception that
nothing else answered is logged with its traceback and answered with the request id.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farthing.core.errors import ClosedError
from farthing.server.errors import fault_of, openai_answer, unexpected_fault
from farthing.server.metrics import Metrics

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
HUNG_UP = 499  # no answer was sent; the status is nginx's, for logs and metrics only
MAX_LOGGED_PATH = 200


def count_work(request: Request, num_texts: int, num_tokens: int) -> None:
    """Leave for the access line what a request cost."""
    request.state.work = f" texts={num_texts} tokens={num_tokens}"


class Access:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        asked_id = Headers(scope=scope).get("x-request-id", "")
        request_id = asked_id if REQUEST_ID.fullmatch(asked_id) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = HUNG_UP

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except asyncio.CancelledError:
            # The server stops and the time to finish is over; this task ends here either way.
            if status == HUNG_UP:
                stopped = ClosedError("The server was shut down before this request was finished.")
                await openai_answer(fault_of(stopped))(scope, receive, send_with_id)
        except Exception:  # the last place where an answer is possible
            logger.exception("Request %s failed unexpectedly", request_id)
            if status != HUNG_UP:
                raise
            await openai_answer(unexpected_fault(request_id))(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.count_request(scope, status, seconds)
            # The raw path is still percent-encoded, so that it cannot break the line.
            path = scope["raw_path"].decode("ascii", "replace")[:MAX_LOGGED_PATH]
            work = scope["state"].get("work", "")
            if "caller" in scope["state"]:
                work += f" key={scope['state']['caller']}"
            logger.info("%s %s %d %.1f ms%s id=%s", scope["method"], path, status, seconds * 1e3, work, request_id)
