"""ASGI middleware that treats /health/ as /health, and HEAD as GET without a body.

In: any HTTP request. Out: the same request, without a slash at the end of its path and with a method that routes know.
Starlette would answer a slash with a redirect, to an address that it makes of the Host header, which a client may have
invented, and of a scheme that may be wrong behind a proxy. Clients look for a server with HEAD (Ollama's do, at /), and
so do monitors and proxies. HEAD goes on as GET in a scope of its own; the connection still sees HEAD in the original
scope, and sends no body.
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
            scope.update({**inner, "method": "HEAD"})  # so that the log and the metrics see the route
