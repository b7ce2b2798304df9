"""ASGI middleware that refuses request bodies that are too large, or come too late.

In: any HTTP request. Out: the same, or an `HTTPException` 413 or 408 raised from `receive` into whoever reads the body,
so that the application answers it in its own error shape. The declared content-length is checked before anything is
read; without one (chunked) the bytes are counted as they come, so that no more than the limit is ever held.
Starlette's own middleware of this kind answers in plain text, which OpenAI's clients cannot read. The time is the
connection's to watch (`farthing.server.connection`).
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farthing.server.connection import LATE_BODY

LATE_MESSAGE = (
    "The request body did not come in time; send it at once, or start the server with a larger --body-timeout-s."
)


class BodyLimit:
    """Limit the request body of `app` to `max_bytes`."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        declared_bytes = int(declared) if declared.isdecimal() else 0
        seen_bytes = 0

        async def receive_within_limit() -> Message:
            nonlocal seen_bytes
            if declared_bytes > self.max_bytes:
                raise self.too_large(f"{declared_bytes} bytes")
            message = await receive()
            if message["type"] == "http.request":
                seen_bytes += len(message.get("body", b""))
                if seen_bytes > self.max_bytes:
                    raise self.too_large(f"over {self.max_bytes} bytes")
                if message.get("more_body") and LATE_BODY in scope["state"]:
                    raise HTTPException(408, LATE_MESSAGE, {"connection": "close"})
            return message

        await self.app(scope, receive_within_limit, send)

    def too_large(self, got: str) -> HTTPException:
        return HTTPException(
            413,
            f"The request body is {got}; this server takes at most {self.max_bytes}. "
            "Send the texts in several requests, or start the server with a larger --max-body-bytes.",
        )
