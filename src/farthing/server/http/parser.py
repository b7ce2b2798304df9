"""httptools' parser of requests, for a server that takes no offer of another protocol.

In: bytes of a client. Out: the parser's callbacks, called on a protocol of uvicorn's. Clients offer to go on in HTTP/2
(Java's, `curl --http2`), in TLS or as a WebSocket; a server that does not want to answers as if nothing had been
offered (RFC 9110, 7.8). httptools takes what follows the head of such a request for words of the other protocol: the
request has no body then, and its body is the next request. Here another parser, which is told the length of the body
and not of the offer, goes on where the first one stopped.
"""

from __future__ import annotations

from typing import Any

import httptools

FRAMING = (b"content-length", b"transfer-encoding")  # headers that say where a body ends


class StayingParser:
    """Called by uvicorn as httptools' own parser.

    Args:
        protocol: what the callbacks are called on; its `headers` are those of the latest request, in lower case.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._begin(Callbacks(protocol))

    def feed_data(self, data: bytes | memoryview) -> None:
        """Raises `httptools.HttpParserError`."""
        data = memoryview(data)  # what is left is looked at after every offer, and copied after none
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
        # As uvicorn sets it: a client may send on after a request that asks to close the connection.
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
    """The protocol's, but for the end of a request with an offer, whose body is still to come."""

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
    """As `Callbacks`, on a parser that may begin with the body of a request.

    Attributes:
        is_head_known: the head that is read now was read before.
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
