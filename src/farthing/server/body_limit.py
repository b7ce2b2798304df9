"""ASGI middleware that refuses request bodies over a limit.

In: any HTTP request. Out: the same, or an `HTTPException` 413 raised from `receive` into whoever reads the body, so
that the application answers it in its own error shape. The declared content-length is checked before anything is
read; without one (chunked) the bytes are counted as they come, so that no more than the limit is ever held.
Starlette's own middleware of this kind answers in plain text, which OpenAI's clients cannot read.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


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
            return message

        await self.app(scope, receive_within_limit, send)

    def too_large(self, got: str) -> HTTPException:
        return HTTPException(
            413,
            f"The request body is {got}; this server takes at most {self.max_bytes}. "
            "Send the texts in several requests, or start the server with a larger --max-body-bytes.",
        )
