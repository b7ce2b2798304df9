"""ASGI middleware: HEAD is answered as GET is, without the body.

In: any HTTP request. Out: the same, or with the method GET, in a scope of its own: the connection goes by its own, and
sends no body. Clients look for a server with HEAD (Ollama's do, at /), and so do monitors and proxies.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Head:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        inner = {**scope, "method": "GET"}
        try:
            await self.app(inner, receive, send)
        finally:
            scope.update({**inner, "method": "HEAD"})  # with the route, for the log and the metrics
