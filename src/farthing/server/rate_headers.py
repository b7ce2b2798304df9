"""ASGI middleware that tells callers what is left of their limits.

In: any HTTP request. Out: the same, with the headers of the `Allowance` that the guard left in its state, if any.
They are read when the answer begins, after the request was paid for, and go with errors too.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class RateHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_rates(message: Message) -> None:
            if message["type"] == "http.response.start" and "allowance" in scope["state"]:
                MutableHeaders(scope=message).update(scope["state"]["allowance"].headers())
            await send(message)

        await self.app(scope, receive, send_with_rates if scope["type"] == "http" else send)
