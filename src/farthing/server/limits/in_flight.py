"""ASGI middleware that limits a request's body, the time that the body takes to arrive, and the memory that it holds.

In: any HTTP request. Out: the same request with a `Claim` in its state, which grows with the body and is given back
when the answer has been read. Where a limit is passed, `receive` raises an error into the code that reads the body, so
that the application answers it in its own error shape: `HTTPException` 413 or 408, `QueueFullError`,
`RequestTooLargeError`. The declared content-length is checked before anything is read. Without one (chunked), the bytes
are counted as they arrive, so that no more than the limit is ever held. Starlette's own middleware of this kind answers
in plain text, which OpenAI's clients cannot read.

An answer goes to the connection piece by piece, each piece when the client has taken the one before it. An answer that
nobody reads is therefore held once, here, where it is counted. The connection watches the time limits
(`farthing.server.http.connection`).
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farthing.core.errors import FarthingError
from farthing.server.http.connection import LATE_BODY, WIRE, Wire
from farthing.server.http.errors import fault_of, openai_answer
from farthing.server.limits.request_memory import BODY_WEIGHT, NUMBER_BYTES, Claim, RequestMemory, gave_way

LATE_MESSAGE = (
    "The request body did not come in time; send it at once, or start the server with a larger --body-timeout-s."
)
CLAIM = "claim"  # key in the state of a request
PIECE_BYTES = 96 * 1024  # of an answer, given to the connection at once; 32 vectors of 384 numbers in base64 fit in one
SMALL_ANSWER_BYTES = 16 * 1024  # a smaller answer is not worth counting


class InFlight:
    """Limits the request bodies of `app` to `max_bytes`, and what all requests hold to the limit of `memory`."""

    def __init__(self, app: ASGIApp, max_bytes: int, memory: RequestMemory) -> None:
        self.app = app
        self.max_bytes, self.memory = max_bytes, memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state[CLAIM] = claim = self.memory.claim()
        wire = state.get(WIRE)
        answer = SentAnswer(claim, scope, receive, send, wire)
        try:
            await self.app(scope, self._received(scope, state, claim, receive, wire), answer.send)
            await answer.taken()
        finally:
            claim.release()

    def _received(
        self, scope: Scope, state: MutableMapping[str, Any], claim: Claim, receive: Receive, wire: Wire | None
    ) -> Receive:
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        declared_bytes = int(declared) if declared.isdigit() else 0
        claim.expected_bytes = BODY_WEIGHT * declared_bytes
        seen_bytes = 0
        is_whole = False

        async def receive_within_limits() -> Message:
            nonlocal seen_bytes, is_whole
            if is_whole:  # nothing more can come, except that the client hangs up
                return await receive()
            if declared_bytes > self.max_bytes:
                raise self.too_large(f"{declared_bytes} bytes")
            with claim.waiting_for_client(None if wire is None else wire.wake):
                message = await receive()
            if claim.is_dropped:
                raise gave_way()
            if message["type"] == "http.request":
                num_bytes = len(message.get("body", b""))
                seen_bytes += num_bytes
                if seen_bytes > self.max_bytes:
                    raise self.too_large(f"over {self.max_bytes} bytes")
                is_whole = not message.get("more_body")
                if not is_whole and LATE_BODY in state:
                    raise HTTPException(408, LATE_MESSAGE, {"connection": "close"})
                await claim.grow(BODY_WEIGHT * num_bytes)
            return message

        return receive_within_limits

    def too_large(self, got: str) -> HTTPException:
        return HTTPException(
            413,
            f"The request body is {got}; this server takes at most {self.max_bytes}. "
            "Send the texts in several requests, or start the server with a larger --max-body-bytes.",
        )


class SentAnswer:
    """An answer on its way to the client.

    Its head is held back until the first part of its body is there, so that an answer for which there is no room can
    still be replaced by an error.
    """

    def __init__(self, claim: Claim, scope: Scope, receive: Receive, send: Send, wire: Wire | None) -> None:
        self._claim, self._scope, self._receive, self._send, self._wire = claim, scope, receive, send, wire
        self._head: Message | None = None
        self._is_refused = False

    async def send(self, message: Message) -> None:
        if self._is_refused:
            return
        if message["type"] == "http.response.start":
            self._head = message
            return
        body = message.get("body", b"")
        if self._head is not None:
            if len(body) > SMALL_ANSWER_BYTES and not await self._has_room(len(body)):
                return
            head, self._head = self._head, None
            await self._send(head)
        if len(body) <= PIECE_BYTES and not message.get("more_body"):
            await self._send(message)
            return
        with self._waiting_for_client():
            for start in range(0, max(1, len(body)), PIECE_BYTES):
                is_last = start + PIECE_BYTES >= len(body) and not message.get("more_body")
                piece = body[start : start + PIECE_BYTES]
                await self._send({"type": "http.response.body", "body": piece, "more_body": not is_last})
                if self._claim.is_dropped:  # and the connection with it
                    raise ClientDisconnect

    async def taken(self) -> None:
        """Return when the client has taken nearly all of the answer, or is gone."""
        if self._wire is not None and self._wire.is_full():
            with self._waiting_for_client():
                await self._wire.drain()

    def _waiting_for_client(self) -> Claim:
        return self._claim.waiting_for_client(None if self._wire is None else self._wire.abort)

    async def _has_room(self, num_bytes: int) -> bool:
        """Claim room for `num_bytes`; where there is none, send the client an error instead of the answer."""
        try:
            await self._claim.grow(num_bytes)
        except FarthingError as error:
            self._is_refused = True
            await openai_answer(fault_of(error))(self._scope, self._receive, self._send)
            return False
        return True


async def claim_answer(request: Request, num_numbers: int) -> None:
    """Claim memory for an answer of `num_numbers` numbers before they are computed.

    Raises `RequestTooLargeError` and `QueueFullError`.
    """
    await claim_memory(request, NUMBER_BYTES * num_numbers)


async def claim_memory(request: Request, num_bytes: int) -> None:
    """Claim `num_bytes` of memory until the request is answered. Raises as `claim_answer`."""
    claim: Claim | None = request.scope["state"].get(CLAIM)
    if claim is not None:
        await claim.grow(num_bytes)
