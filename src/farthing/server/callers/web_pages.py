"""ASGI middleware that decides whether a request may come from a web page.

In: any HTTP request. Out: the same request, or an answer that says why it is refused and which setting would allow it.
The decision is made by the head alone, before any work.

A browser on this machine, or in its network, sends requests for every page that is open in it. Three checks keep the
requests of foreign pages out of a server that asks for no key:

- Host. A page of evil.example whose name is made to lead to 127.0.0.1 (DNS rebinding) has the server's own origin, and
  may read every answer. The Host header then still says evil.example. So it must be an address, for which no name
  service is asked; a name that nobody can have in the public name service; or a name from the settings. Names of one
  label and names such as .internal or .svc are how containers and clusters call each other. Whoever runs the name
  service of the local network could rebind them; against such an attacker there are keys.
- Origin. Browsers send it with every request that is not a plain GET. It must be the server's own, or be allowed by
  `cors_origins`. This covers what CORS does not: a page may send a POST with the content type of a form without asking
  first; it only cannot read the answer. Asking for a certain content type instead would not work: `curl -d` sends that
  of a form, Node's fetch() sends text/plain, and both send no Origin.
- Sec-Fetch-Site. Browsers send it with plain GETs too, to addresses that they consider safe. Such a GET does nothing
  here and its answer cannot be read. It is refused all the same, except for pages that somebody opens by a link.

Where a key is needed, none of this is checked: a page does not know the key, and may send one (a header of its own)
only after CORS has answered a preflight request. Nor is it checked over a Unix socket, which browsers cannot reach. A
Host header that is not a host at all is refused everywhere, as RFC 9112 demands.
"""

from __future__ import annotations

import socket
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from farthing.core.host_names import Authority, HostNames, is_address, is_local_name, parse_authority
from farthing.core.origins import DEFAULT_PORTS, Origins, parse_origin
from farthing.server.http.errors import Fault, openai_answer

LINKED = ("/", "/docs", "/openapi.json", "/health")  # to which other pages may link
READING = ("GET", "HEAD")
PAGES_HEADERS = (b"origin", b"sec-fetch-site")
OTHER_SITES = ("cross-site", "same-site")
MAX_SHOWN = 100  # characters of a header that an answer repeats


class WebPages:
    """Refuses requests that must not come from a web page, and passes on all others.

    Args:
        needs_key: whether every route that does something asks for a key.
        hosts: the names that the settings allow, with the name of the address to listen on.
        origins: the origins of pages that may call.
    """

    def __init__(self, app: ASGIApp, *, needs_key: bool, hosts: HostNames, origins: Origins) -> None:
        self.app = app
        self._needs_key, self._hosts, self._origins = needs_key, hosts, origins
        self._own_name = own_name()
        # Nearly all requests have one of the same few Host headers.
        self._host = lru_cache(maxsize=16)(self._read_host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._fault(scope) if scope["type"] == "http" else None
        await (self.app if fault is None else openai_answer(fault))(scope, receive, send)

    def _fault(self, scope: Scope) -> Fault | None:
        sent = [value for name, value in scope["headers"] if name == b"host"]
        if len(sent) > 1 or (not sent and scope["http_version"] != "1.0"):
            return bad_request(f"The request has {len(sent)} Host headers; HTTP/1.1 wants one.")
        host, may_be_called = self._host(sent[0]) if sent else (None, True)
        if sent and host is None:
            text = sent[0].decode("latin-1")
            return bad_request(f"The Host header is {shown(text)}; it must be a host, and a port if need be.")
        if self._needs_key or is_unix(scope):
            return None
        if host is not None and not may_be_called:
            return forbidden(
                "host_not_allowed",
                f"This server was called by the name {host.host}, which could be one that a web page made lead to it. "
                f"Start it with --allowed-hosts {host.host} if the name is yours, or with an API key.",
            )
        if not any(name in PAGES_HEADERS for name, _ in scope["headers"]):
            return None
        return self._origin_fault(scope, Headers(scope=scope), host)

    def _read_host(self, header: bytes) -> tuple[Authority | None, bool]:
        """Return what a Host header says, and whether the server may be called by that name."""
        host = parse_authority(header.decode("latin-1"))
        return host, host is not None and self._may_be_called(host.host)

    def _may_be_called(self, host: str) -> bool:
        return is_address(host) or is_local_name(host) or host == self._own_name or self._hosts.has(host)

    def _origin_fault(self, scope: Scope, headers: Headers, host: Authority | None) -> Fault | None:
        origins = headers.getlist("origin")
        if len(origins) > 1:
            return bad_request(f"The request has {len(origins)} Origin headers; there may be one.")
        if origins:
            origin = origins[0]
            if is_same(origin, host) or self._origins.has(origin):
                return None
            what = f"A web page of the origin {shown(origin)}"
        elif headers.get("sec-fetch-site") in OTHER_SITES and not is_followed_link(scope, headers):
            what = "A web page of another origin"
        else:
            return None
        return forbidden(
            "origin_not_allowed",
            f"{what} sent this request, which this server does not allow. Start it with --cors-origins and the page's "
            "origin if the page is yours, or with an API key.",
        )


def is_same(text: str, host: Authority | None) -> bool:
    """Return whether the origin `text` is that of the server that was called as `host`.

    The scheme is not compared, because TLS may end at a proxy. A port that is left out is the default of the origin's
    scheme.
    """
    origin = parse_origin(text)
    if origin is None or host is None or origin.scheme not in DEFAULT_PORTS:
        return False
    own = DEFAULT_PORTS[origin.scheme]
    return (origin.host, origin.port or own) == (host.host, host.port or own)


def is_followed_link(scope: Scope, headers: Headers) -> bool:
    is_page = scope["method"] in READING and scope["path"] in LINKED
    return is_page and headers.get("sec-fetch-mode") == "navigate"


def is_unix(scope: Scope) -> bool:
    server = scope.get("server")
    return server is not None and server[1] is None


def own_name() -> str:
    """Return the name that this machine gives itself, in the form of an `Authority`."""
    return socket.gethostname().lower().rstrip(".")


def listened_name(host: str) -> list[str]:
    """Return the setting `host` as a list of one, or an empty list where it is not a name."""
    authority = parse_authority(host)
    return [] if authority is None or is_address(authority.host) else [authority.host]


def shown(text: str) -> str:
    """Return a header's text cut to `MAX_SHOWN` characters, without any byte that must not stand in a log."""
    return ascii(text[:MAX_SHOWN])


def bad_request(message: str) -> Fault:
    return Fault(400, "invalid_request_error", "invalid_http", message)


def forbidden(code: str, message: str) -> Fault:
    return Fault(403, "invalid_request_error", code, message)
