"""ASGI middleware: /health/ is /health.

In: any HTTP request. Out: the same, without a slash at the end of its path. Starlette would answer with a redirect to
an address that it makes of the Host header, which a client may have invented, and of a scheme that ends at a proxy.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class TrailingSlash:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and len(scope["path"]) > 1 and scope["path"].endswith("/"):
            scope["path"] = scope["path"][:-1]
        await self.app(scope, receive, send)
