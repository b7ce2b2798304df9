"""A connection of uvicorn's, with limits on how large a client's request may be and how long it may take to arrive.

In: bytes from a client. Out: what uvicorn makes of them; a request that never comes to its end gets an answer (408,
431) or its connection is closed. uvicorn limits only the time between requests. Without these limits, a client that
opens connections and leaves them, or sends a byte now and then, would hold them forever, and a header could be of any
size.

The application refuses a body that is late, in its own words: it finds `LATE_BODY` in the request's state
(`farthing.server.limits.in_flight`). A timer runs only where a request does not arrive in one piece.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, MutableMapping
from functools import partial
from typing import Any, NamedTuple

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from farthing.core.settings import ConnectionSettings
from farthing.server.http.errors import RETRY_AFTER, Fault, openai_answer
from farthing.server.http.parser import StayingParser

logger = logging.getLogger(__name__)

# Keys in the state of a request.
LATE_BODY = "late_body"
WIRE = "wire"
WARN_INTERVAL_S = 10.0
# The heads that all connections are still receiving: beyond this limit, a large head that grows further is refused.
MAX_HEADS_BYTES, SMALL_HEAD_BYTES = 32 * 2**20, 4096
# Data that arrived together is read in parts of this size, each when the requests of the part before it are answered: a
# client that sends thousands of requests at once neither holds up the others nor fills the memory. Meanwhile nothing
# more is received from it.
READ_BYTES, READ_BODY_BYTES = 4096, 64 * 1024
# Data and requests that wait on all connections behind requests in work: beyond this limit, a connection that adds to
# them is closed if it has more than a few requests waiting. A request that was read takes about `WAITING_BYTES`.
MAX_WAITING_BYTES, FEW_WAITING_BYTES, WAITING_BYTES = 32 * 2**20, 64 * 1024, 4096
# What a client waits for before it sends its body; the answer is still to come.
CONTINUE = b"HTTP/1.1 100 "
LINGER_S = 2.0  # how long the rest of a refused request is received and dropped: closing at once could lose the answer


class ConnectionLimits:
    """What all connections of a server share: the settings, the bytes that they hold, and when they last warned.

    Attributes:
        heads_bytes: received bytes of heads that are not complete.
        waiting_bytes: bytes of requests that wait for an earlier request on their connection.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.heads_bytes = self.waiting_bytes = 0
        self._warned_at: dict[str, float] = {}

    def protocol(self) -> Any:
        """Return what uvicorn takes as `http`, and calls as it would call the class."""
        return partial(Connection, limits=self)

    def warn(self, message: str) -> None:
        """Log `message`, but the same message at most every `WARN_INTERVAL_S`."""
        now = time.monotonic()
        if now - self._warned_at.get(message, -WARN_INTERVAL_S) >= WARN_INTERVAL_S:
            self._warned_at[message] = now
            logger.warning(message)


class Wire(NamedTuple):
    """What the application may do with the connection of a request.

    Attributes:
        wake: ends the wait for more of the request's body.
        abort: closes the connection at once, whatever is still to be sent.
        is_full: whether the client has yet to take what was given to the connection.
        drain: returns when the client has taken it, or is gone.
        when_gone: sets what is called when the client hangs up, or nothing. The request's body must have been received.
    """

    wake: Callable[[], None]
    abort: Callable[[], None]
    is_full: Callable[[], bool]
    drain: Callable[[], Coroutine[Any, Any, None]]
    when_gone: Callable[[Callable[[], None] | None], None]


class HeadTooLarge(Exception):
    """Stops the parser at a head that is too large."""


class NotAscii(Exception):
    """Stops the parser: an address is written in ASCII (RFC 3986), and the code that reads a query relies on it."""


class WithAddress(logging.LoggerAdapter):  # type: ignore[type-arg]
    """uvicorn's logger, with the client's address before each message."""

    @property
    def level(self) -> int:
        return int(self.logger.level)

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        client: Any = (self.extra or {}).get("client")
        return f"{client[0] if client else 'unix'}: {msg}", kwargs


class ReadFlow(FlowControl):
    """uvicorn's flow control, which receives more whenever a request is answered or waits. This one does not while
    received data is still unread."""

    def __init__(self, transport: asyncio.Transport, is_full: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._is_full = is_full

    def resume_reading(self) -> None:
        if not self._is_full():
            super().resume_reading()


class AnswerTransport:
    """The transport of a connection's answers: the head of each goes out together with what follows it.

    uvicorn writes the two one after the other, and each write is a call to the system, the most costly part of a small
    answer. The application sends no head before it has a part of the body (`farthing.server.limits.in_flight`), so that
    nothing is held back for long.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._has_begun = False
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if self._head is not None:
            data, self._head = self._head + data, None
        elif not self._has_begun and not data.startswith(CONTINUE):
            self._head, self._has_begun = data, True
            return
        self._transport.write(data)

    def end(self) -> None:
        """Write what is left of an answer, which is a head without a body."""
        self._has_begun = False
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)

    def close(self) -> None:
        self.end()
        self._transport.close()


class Connection(HttpToolsProtocol):
    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = StayingParser(self)  # type: ignore[assignment]
        self._limits, self._settings = limits, limits.settings
        self._part = ""  # the part of a request that is being received: "head", "body", or "" for none
        self._num_parts = 0  # parts that began on this connection
        self._num_whole = 0  # requests that came whole
        self._counted_bytes = 0  # the bytes of this connection in `heads_bytes` of the limits
        self._chunk_bytes = 0
        # Bytes received since a head began, or since the last byte of a body: the parser may keep them, as headers or
        # trailers. `_first_bytes` are those of the first chunk, which may begin with something else.
        self._held_bytes = self._first_bytes = 0
        self._head_is_too_large = self._is_refused = False
        self._unread: deque[memoryview] = deque()  # received data whose turn has not come
        self._waiting_bytes = 0  # the bytes of this connection in `waiting_bytes` of the limits
        self._running: RequestResponseCycle | None = None  # the request that is being answered
        self._when_gone: Callable[[], None] | None = None  # that request wants to know when the client hangs up
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = ReadFlow(transport, lambda: bool(self._unread))
        self._answers = AnswerTransport(transport)
        self.logger = WithAddress(self.logger, {"client": self.client})  # type: ignore[assignment]
        if len(self.connections) > self._settings.max_connections:
            most = self._settings.max_connections
            self._limits.warn(f"New connections are closed: {most} are open (--max-connections)")
            transport.abort()
        else:
            self._start_deadline(self._settings.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        self._stop_write_deadline()
        self._unread.clear()
        self.pipeline.clear()
        self._count_waiting()
        self._count_head(0)
        if self._running is not None and not self._running.response_complete:
            # uvicorn tells only the last request of the connection, which may be one that waits behind the running one.
            self._running.disconnected = True
            self._running.message_event.set()
        if self._when_gone is not None:
            self._when_gone()
            self._when_gone = None
        super().connection_lost(exc)

    # --- what is received -------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if not self._unread and len(data) <= READ_BYTES and not self.pipeline:
            self._read(data)
        else:
            self._unread.append(memoryview(data))
            self._read_on()
        if self.pipeline or self._waiting_bytes:
            self._count_waiting()
            if self._waiting_bytes > FEW_WAITING_BYTES and self._limits.waiting_bytes > MAX_WAITING_BYTES:
                self._limits.warn("A connection is closed: too many requests wait for the ones before them")
                self.transport.abort()

    def _read_on(self) -> None:
        """Read the data received so far, until a request has to wait for the one before it."""
        while self._unread and (self._is_refused or not self.pipeline):
            data, num_bytes = self._unread.popleft(), READ_BODY_BYTES if self._part == "body" else READ_BYTES
            if len(data) > num_bytes:
                self._unread.appendleft(data[num_bytes:])
            self._read(data[:num_bytes])
        if self._unread:
            self.flow.pause_reading()

    def on_response_complete(self) -> None:
        self._answers.end()
        super().on_response_complete()
        if not self.transport.is_closing():
            self._read_on()
            self.flow.resume_reading()
            if self._waiting_bytes:
                self._count_waiting()

    def _read(self, data: bytes | memoryview) -> None:
        if self._is_refused:
            return
        num_parts, num_whole, self._chunk_bytes = self._num_parts, self._num_whole, len(data)
        self._held_bytes += self._chunk_bytes
        super().data_received(data)  # type: ignore[arg-type]
        self._count_head(self._held_bytes - self._first_bytes if self._part == "head" else 0)
        if self._is_refused:
            return
        if not self._part:
            self._on_no_part(is_whole=self._num_whole != num_whole)
        elif self._counted_bytes > SMALL_HEAD_BYTES and self._limits.heads_bytes > MAX_HEADS_BYTES:
            self._refuse_heads()
        elif self._held_bytes - self._first_bytes > self._settings.max_header_bytes:
            self._refuse_head()
        elif self._num_parts != num_parts:
            is_head = self._part == "head"
            self._start_deadline(self._settings.header_timeout_s if is_head else self._settings.body_timeout_s)

    def _on_no_part(self, *, is_whole: bool) -> None:
        """Handle the end of a request, or blank lines, which may stand before a request and are no part of it."""
        if is_whole:
            self._stop_deadline()
        elif self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            # Any byte that arrives ends uvicorn's own wait for the next request.
            self._start_deadline(self._settings.header_timeout_s)

    def _count_head(self, num_bytes: int) -> None:
        self._limits.heads_bytes += num_bytes - self._counted_bytes
        self._counted_bytes = num_bytes

    def _count_waiting(self) -> None:
        num_bytes = WAITING_BYTES * len(self.pipeline) + sum(map(len, self._unread))
        self._limits.waiting_bytes += num_bytes - self._waiting_bytes
        self._waiting_bytes = num_bytes

    def on_message_begin(self) -> None:
        self._part = "head"
        self._num_parts += 1
        self._held_bytes = self._first_bytes = self._chunk_bytes
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        most = self._settings.max_header_bytes
        if self._held_bytes > most and self._head_bytes() > most:
            self._head_is_too_large = True
            raise HeadTooLarge
        if not self.url.isascii():  # other bytes in a path stop the parser anyway; a query must not pass either
            raise NotAscii
        self._part = "body"
        self._num_parts += 1
        super().on_headers_complete()
        # The request's task begins in a later turn of the loop.
        flow, wake = self.flow, self.cycle.message_event.set
        self.cycle.transport = self._answers  # type: ignore[assignment]
        self.scope["state"][WIRE] = Wire(
            wake, self.transport.abort, lambda: flow.write_paused, flow.drain, self._call_when_gone
        )

    def _call_when_gone(self, call: Callable[[], None] | None) -> None:
        self._when_gone = call
        if call is not None:
            self.flow.resume_reading()  # a connection that is not read does not tell that it has ended
            if self._running is not None and self._running.disconnected:
                self.loop.call_soon(call)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._held_bytes = self._first_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._part = ""
        self._num_whole += 1
        super().on_message_complete()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    # --- what comes too late ----------------------------------------------------------------------------------------

    def _start_deadline(self, seconds: float) -> None:
        self._stop_deadline()
        self._deadline = self.loop.call_later(seconds, self._on_late, seconds)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_late(self, seconds: float) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self._is_refused:
            self.transport.close()
        elif not is_answering and self._part == "head":
            self._refuse(
                Fault(408, "invalid_request_error", "request_timeout", "The head of the request came too late.")
            )
        elif not is_answering:  # no request has begun, or the rest of a refused body is still arriving
            self.transport.close()
        else:
            # The client cannot be late while we do not read, or while the request before is not answered.
            if self._part == "body" and not self.flow.read_paused and not self._unread:
                self.scope["state"][LATE_BODY] = True
                self.cycle.message_event.set()
            self._start_deadline(seconds)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_deadline()

    def resume_writing(self) -> None:
        self._stop_write_deadline()
        super().resume_writing()

    def _start_write_deadline(self) -> None:
        left_bytes = self.transport.get_write_buffer_size()
        self._write_deadline = self.loop.call_later(self._settings.body_timeout_s, self._on_unread, left_bytes)

    def _stop_write_deadline(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _on_unread(self, left_bytes: int) -> None:
        """Close the connection if the client has not read any more of the answer; else wait once more."""
        if self.transport.get_write_buffer_size() < left_bytes:
            self._start_write_deadline()
        else:
            self.transport.abort()

    # --- answers without a request ----------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Refuse the request, for whatever reason the parser was stopped. uvicorn calls this."""
        if self._head_is_too_large:
            self._refuse_head()
        else:
            self._refuse(Fault(400, "invalid_request_error", "invalid_http", msg))

    def _refuse_head(self) -> None:
        message = (
            f"The head of the request is larger than {self._settings.max_header_bytes} bytes (--max-header-bytes)."
        )
        self._refuse(Fault(431, "invalid_request_error", "request_header_fields_too_large", message))

    def _refuse_heads(self) -> None:
        message = "Many clients are sending long heads of requests; try again with fewer or shorter headers."
        self._refuse(Fault(503, "service_unavailable_error", "too_many_heads", message, headers=RETRY_AFTER))

    def _refuse(self, fault: Fault) -> None:
        self._is_refused = True
        if self.cycle is not None and not self._may_refuse(self.cycle):
            return
        answer = openai_answer(fault)
        headers = [*self.server_state.default_headers, *answer.raw_headers, (b"connection", b"close")]
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[fault.status], *lines, b"\r\n", bytes(answer.body)]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._start_deadline(LINGER_S)
        else:  # TLS
            self.transport.close()

    def _may_refuse(self, cycle: RequestResponseCycle) -> bool:
        """Return whether the refusal can be written now; in the middle of another answer it would seem a part of it.

        `cycle` is the last request whose head was read. Where the refusal cannot be written, the connection ends,
        either now or when that request is answered.
        """
        if self._part != "body":
            if not cycle.response_complete:  # the request arrived whole and is still being answered
                self._stop_deadline()
                cycle.keep_alive = False
            return bool(cycle.response_complete)
        if cycle.response_started or self.pipeline:
            self.transport.abort()
            return False
        cycle.disconnected = True  # tell the code that waits for the rest of the body that nothing more will come
        cycle.message_event.set()
        return True
