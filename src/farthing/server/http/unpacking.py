"""ASGI middleware that unpacks bodies that arrive compressed.

In: any HTTP request. Out: the same request; a body whose `Content-Encoding` is gzip or deflate is unpacked as it is
read, a piece at a time. Or `receive` raises an error into the code that reads the body: `HTTPException` 415 for another
coding, `InputError` for data that cannot be unpacked. Nothing is unpacked before the body is asked for, and the
unpacked bytes count where bodies are counted (`farthing.server.limits.in_flight`): a small body that would become a
very large one is refused when it passes the limit, with no more than one piece of it held beyond the limit.
"""

from __future__ import annotations

import zlib

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farthing.core.errors import InputError
from farthing.core.shown import MAX_SHOWN

CODINGS = ("gzip", "x-gzip", "deflate")
EITHER_FORMAT = 32 + zlib.MAX_WBITS  # zlib finds out which of the two formats it is
PIECE_BYTES = 2**18
SMALL_BYTES = 2**14  # so few compressed bytes are unpacked sooner than a thread could begin


class Unpacking:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            codings = b""
            for name, value in scope["headers"]:
                if name == b"content-encoding":  # several codings, one upon the other, match none of `CODINGS`
                    codings = codings + b", " + value if codings else value
            if codings:
                receive = received_by(receive, codings.decode("latin-1").strip().lower())
        await self.app(scope, receive, send)


def received_by(receive: Receive, coding: str) -> Receive:
    if coding in ("", "identity"):
        return receive
    if coding in CODINGS:
        return UnpackedBody(receive).receive

    async def refuse() -> Message:
        raise HTTPException(
            415,
            f"Content-Encoding is {coding[:MAX_SHOWN]!a}; this server unpacks gzip and deflate. Send the body in "
            "one of them, or as it is.",
            {"accept-encoding": "gzip, deflate"},
        )

    return refuse


class UnpackedBody:
    """The unpacked body of one request."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._stream = zlib.decompressobj(EITHER_FORMAT)
        self._packed = b""  # received and not unpacked yet
        self._num_received = 0
        self._is_all_received = self._may_hold_more = self._is_done = False

    async def receive(self) -> Message:
        """Return the next message of the body. Raises `InputError`."""
        while not self._is_done:
            if not self._packed and not self._may_hold_more and not self._is_all_received:
                message = await self._receive()
                if message["type"] != "http.request":
                    return message
                self._take(message)
            piece = await self._next_piece()
            if self._stream.eof:
                await self._check_end()
            elif self._is_all_received and not self._packed and not self._may_hold_more:
                if self._num_received:
                    raise InputError("The request body ends before its compressed data does; send all of it.")
                self._is_done = True
            if piece or self._is_done:
                return {"type": "http.request", "body": piece, "more_body": not self._is_done}
        return await self._receive()

    def _take(self, message: Message) -> None:
        self._packed = message.get("body", b"")
        self._num_received += len(self._packed)
        self._is_all_received = not message.get("more_body")

    async def _next_piece(self) -> bytes:
        if len(self._packed) <= SMALL_BYTES and not self._may_hold_more:
            return self._unpack()
        return await run_in_threadpool(self._unpack)

    def _unpack(self) -> bytes:
        try:
            piece = self._stream.decompress(self._packed, PIECE_BYTES)
        except zlib.error as error:
            raise InputError(f"The request body cannot be unpacked by its Content-Encoding: {error}.") from None
        self._packed = self._stream.unconsumed_tail
        self._may_hold_more = len(piece) == PIECE_BYTES
        return piece

    async def _check_end(self) -> None:
        """Raise `InputError` for any data after the end: a second part could be the first of very many."""
        behind = self._stream.unused_data
        while not behind and not self._is_all_received:
            message = await self._receive()
            if message["type"] != "http.request":
                break
            self._take(message)
            behind = self._packed
        if behind:
            raise InputError("The request body goes on behind the end of its compressed data; compress it as one.")
        self._is_done = True
