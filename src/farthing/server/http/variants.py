"""ASGI middleware: /health/ is /health, and HEAD is GET without a body.

In: any HTTP request. Out: the same, without a slash at the end of its path and with one of the methods that routes
know. Starlette would answer to a slash with a redirect to an address that it makes of the Host header, which a client
may have invented, and of a scheme that ends at a proxy. Clients look for a server with HEAD (Ollama's do, at /), and so
do monitors and proxies. HEAD goes on as GET in a scope of its own: the connection goes by its own, and sends no body.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Variants:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if len(scope["path"]) > 1 and scope["path"].endswith("/"):
            scope["path"] = scope["path"][:-1]
        if scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        inner = {**scope, "method": "GET"}
        try:
            await self.app(inner, receive, send)
        finally:
            scope.update({**inner, "method": "HEAD"})  # with the route, for the log and the metrics
