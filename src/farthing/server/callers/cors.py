"""CORS: which web pages may read this server's answers.

In: requests from web pages, and the preflight requests with which browsers ask for permission. Out: the headers that
tell a browser what it may do: Starlette's, with our own origins and patterns. Cookies are not allowed: a page could use
none here, and `*` cannot be combined with them.
"""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from farthing.core.origins import ANY, Origins

METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")


class Cors(CORSMiddleware):
    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        super().__init__(
            app,
            allow_origins=[ANY] if origins.has_any else [],
            allow_methods=METHODS,
            allow_headers=["*"],
            expose_headers=["*"],
            # A page from the internet needs this before it may call an address in a private network or on this machine.
            allow_private_network=True,
        )
        self._origins = origins

    def is_allowed_origin(self, origin: str) -> bool:
        return self._origins.has(origin)
