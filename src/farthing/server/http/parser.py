"""httptools' request parser, for a server that accepts no offer to switch to another protocol.

In: bytes from a client. Out: the parser's callbacks, called on a uvicorn protocol. Clients offer to go on in HTTP/2
(Java's, `curl --http2`), in TLS or as a WebSocket. A server that does not want to switch answers as if nothing had been
offered (RFC 9110, 7.8). httptools takes what follows the head of such a request for data of the other protocol: the
request then has no body, and its body is read as the next request. Here another parser goes on where the first one
stopped; it is told the length of the body but not of the offer.
"""

from __future__ import annotations

from typing import Any

import httptools

FRAMING = (b"content-length", b"transfer-encoding")  # headers that say where a body ends


class StayingParser:
    """The parser that uvicorn calls in place of httptools' own.

    Args:
        protocol: receives the callbacks; its `headers` are those of the latest request, in lower case.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._begin(Callbacks(protocol))

    def feed_data(self, data: bytes | memoryview) -> None:
        """Parse `data`. Raises `httptools.HttpParserError`."""
        data = memoryview(data)  # so that the rest after an offer is read without a copy
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
            self._pass_over_offer()
            if not data:
                return

    def _begin(self, callbacks: Callbacks | LaterCallbacks) -> None:
        self._parser = parser = httptools.HttpRequestParser(callbacks)
        callbacks.parser = parser
        # As uvicorn does: a client may go on sending after a request that asks to close the connection.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.get_method, self.get_http_version = parser.get_method, parser.get_http_version
        self.should_keep_alive, self.should_upgrade = parser.should_keep_alive, parser.should_upgrade

    def _pass_over_offer(self) -> None:
        framing = [header for header in self._protocol.headers if header[0] in FRAMING]
        callbacks = LaterCallbacks(self._protocol)
        self._begin(callbacks)
        if not framing:
            self._protocol.on_message_complete()
            return
        lines = b"".join(b"%b: %b\r\n" % header for header in framing)
        callbacks.is_head_known = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + lines + b"\r\n")


class Callbacks:
    """The protocol's callbacks, but a request with an offer does not end with its head: its body is still to come."""

    def __init__(self, protocol: Any) -> None:
        self.parser: Any = None
        self._protocol = protocol
        self.on_message_begin, self.on_url, self.on_header = (
            protocol.on_message_begin,
            protocol.on_url,
            protocol.on_header,
        )
        self.on_headers_complete, self.on_body = protocol.on_headers_complete, protocol.on_body

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._protocol.on_message_complete()


class LaterCallbacks:
    """Like `Callbacks`, on a parser that may begin with the body of a request.

    Attributes:
        is_head_known: whether the head that is being read has been read before.
    """

    def __init__(self, protocol: Any) -> None:
        self.parser: Any = None
        self.is_head_known = False
        self._protocol = protocol
        self.on_body = protocol.on_body

    def on_message_begin(self) -> None:
        if not self.is_head_known:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self.is_head_known:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_head_known:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self.is_head_known:
            self._protocol.on_headers_complete()
        self.is_head_known = False

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._protocol.on_message_complete()
