"""ASGI middleware that charges a caller for a request, and tells the caller what is left.

In: any HTTP request, with an `Allowance` in its state where the guard left one. Out: the same request. When the body
has arrived, an estimate of its tokens is reserved, whatever the route is; a route that knows better reserves more. When
the answer begins, the true number of tokens is paid. Headers tell what is left, also on errors. Where the client hung
up, or the request ran out of time, nobody knows how much was computed: the caller pays at least what was reserved.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farthing.server.limits.rates import Allowance
from farthing.serving.queue.estimates import BYTES_PER_TOKEN

TOO_LATE = 504


class Metering:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        num_bytes = 0

        def allowance() -> Allowance | None:
            found = scope["state"].get("allowance")
            assert found is None or isinstance(found, Allowance)
            return found

        async def receive_and_reserve() -> Message:
            """Raise `RateLimitError` into the code that reads the body, so that the route's dialect answers it."""
            nonlocal num_bytes
            message = await receive()
            if message["type"] == "http.request":
                num_bytes += len(message.get("body", b""))
                held = allowance()
                if held is not None and num_bytes and not message.get("more_body"):
                    await held.reserve(num_bytes // BYTES_PER_TOKEN + 1)
            return message

        async def send_and_settle(message: Message) -> None:
            if message["type"] == "http.response.start" and (held := allowance()) is not None:
                await held.settle(is_known=message["status"] != TOO_LATE)
                MutableHeaders(scope=message).update(held.headers())
            await send(message)

        is_known = False
        try:
            await self.app(scope, receive_and_reserve, send_and_settle)
        except ClientDisconnect:
            raise
        except Exception:
            is_known = True
            raise
        finally:
            if (left := allowance()) is not None:
                await left.settle(is_known=is_known)
