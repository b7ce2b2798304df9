"""ASGI middleware that finds out who the client behind a proxy is.

In: a request that came over a connection from a trusted proxy. Out: the same request, with the client's address in
place of the proxy's (X-Forwarded-For) and the scheme that the client used (X-Forwarded-Proto).

A client may send X-Forwarded-For too. A proxy either replaces the header or appends the address that it sees, so only
the end of the list is believed. Where proxies are named by their addresses, the list is read backwards past those, and
the first other address counts. Where all proxies are trusted (`*`), the last address counts. An entry that is not an
address is never taken: then the proxy itself counts as the client. (uvicorn's own middleware takes the first address of
all with `*`.)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ANY = "*"
MAX_PROXIES = 32  # in a row; entries further to the left are not looked at
SCHEMES = ("http", "https")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Forwarded:
    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        self.app = app
        self._trusts_all = ANY in trusted
        self._trusted = [ipaddress.ip_network(text) for text in trusted if text != ANY]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_trusted(scope.get("client")):
            headers = Headers(scope=scope)
            address = self._client(",".join(headers.getlist("x-forwarded-for")))
            if address is not None:
                scope["client"] = (str(address), 0)
            scheme = ",".join(headers.getlist("x-forwarded-proto")).rpartition(",")[2].strip().lower()
            if scheme in SCHEMES:
                scope["scheme"] = scheme
        await self.app(scope, receive, send)

    def _is_trusted(self, peer: tuple[str, int] | None) -> bool:
        """Return whether the peer is trusted. A Unix socket has no address: only `*` makes its clients trusted."""
        if self._trusts_all:
            return True
        address = None if peer is None else parse_address(peer[0])
        return address is not None and self._is_proxy(address)

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _client(self, forwarded: str) -> Address | None:
        address = None
        for text in reversed(forwarded.rsplit(",", MAX_PROXIES)[-MAX_PROXIES:]):
            if not text.strip():  # from a list that ends in a comma
                continue
            found = parse_address(without_port(text.strip()))
            if found is None:
                return address
            address = found
            if self._trusts_all or not self._is_proxy(found):
                return address
        return address


def without_port(text: str) -> str:
    """Return the address alone of `192.0.2.1:80` or `[2001:db8::1]:80`, which some proxies write."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def parse_address(text: str) -> Address | None:
    """Return `text` as an address, or None if it is not one; an IPv4 address written as an IPv6 one becomes IPv4.

    A server on `::` sees IPv4 clients as ::ffff:0:0/96, and one behind a translator sees them as 64:ff9b::/96:
    otherwise all of the IPv4 internet would count as one network.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
