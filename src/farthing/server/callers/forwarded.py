"""ASGI middleware behind proxies: who is the client?

In: a request that came over a connection of a trusted proxy. Out: the same, with the client's address in place of the
proxy's (X-Forwarded-For) and the scheme that the client used (X-Forwarded-Proto).

A client may send X-Forwarded-For too. A proxy either replaces it or adds the address that it sees at the end; so the
end alone is believed. Where proxies are named by their addresses, the list is read backwards over those that are named,
and the first other one counts. Where all are trusted (`*`) it is the last one. What is no address is never taken: then
the proxy itself counts as the client. (uvicorn's own middleware takes the first address of all with `*`.)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ANY = "*"
MAX_PROXIES = 32  # one behind the other; what stands before is not looked at
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
        """Over a Unix socket there is no address, and trusting all means its clients too."""
        if self._trusts_all:
            return True
        address = None if peer is None else parse_address(peer[0])
        return address is not None and self._is_proxy(address)

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _client(self, forwarded: str) -> Address | None:
        address = None
        for text in reversed(forwarded.rsplit(",", MAX_PROXIES)[-MAX_PROXIES:]):
            if not text.strip():  # of lists that end in a comma
                continue
            found = parse_address(without_port(text.strip()))
            if found is None:
                return address
            address = found
            if self._trusts_all or not self._is_proxy(found):
                return address
        return address


def without_port(text: str) -> str:
    """Of `192.0.2.1:80` and `[2001:db8::1]:80`, which some proxies write, the address alone."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def parse_address(text: str) -> Address | None:
    """`text` as an address; None when it is none. An IPv4 address that is written as an IPv6 one is the IPv4 address.

    A server on `::` has clients of ::ffff:0:0/96, one behind a translator those of 64:ff9b::/96: all of the IPv4
    internet would be one network.
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
