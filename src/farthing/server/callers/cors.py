"""CORS: which web pages may read this server's answers.

In: requests of pages, and the preflight requests with which browsers ask for them. Out: the headers that tell a browser
what it may do: Starlette's, with origins and patterns of ours. No cookies: there is nothing of them here that a page
could use, and `*` could not be said with them.
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
            # A page of the internet asks for this before it calls an address of a private network or of this machine.
            allow_private_network=True,
        )
        self._origins = origins

    def is_allowed_origin(self, origin: str) -> bool:
        return self._origins.has(origin)
