from __future__ import annotations

import asyncio
from typing import Any

import pytest

from farthing.server.callers.forwarded import Forwarded, parse_address


def seen(trusted: list[str], peer: str | None, *values: str, proto: list[str] | None = None) -> tuple[Any, str]:
    """The client and the scheme that the application sees; a header a value."""
    found: list[tuple[Any, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append((scope["client"] and scope["client"][0], scope["scheme"]))

    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in values]
    headers += [(b"x-forwarded-proto", value.encode()) for value in proto or []]
    scope = {"type": "http", "headers": headers, "client": peer and (peer, 1), "scheme": "http"}
    asyncio.run(Forwarded(app, trusted)(scope, None, None))  # type: ignore[arg-type]
    return found[0]


@pytest.mark.parametrize("peer", ["192.0.2.7", None])
def test_with_all_trusted_the_last_address_counts_over_tcp_and_unix_sockets(peer: str | None) -> None:
    assert seen(["*"], peer, "10.9.1.1, 203.0.113.9") == ("203.0.113.9", "http")
    assert seen(["*"], peer, "10.9.1.1", "8.8.8.8, 203.0.113.9") == ("203.0.113.9", "http")
    assert seen(["*"], peer, "10.9.1.1", "203.0.113.9") == ("203.0.113.9", "http")


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("8.8.8.8, 203.0.113.9", "203.0.113.9"),
        ("8.8.8.8, 203.0.113.9, 10.0.0.5", "203.0.113.9"),
        ("8.8.8.8, 203.0.113.9:4711, [::ffff:10.0.0.5]:80,", "203.0.113.9"),
        ("8.8.8.8,[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.9, 10.0.0.5", "10.0.0.9"),
        ("unknown", "10.0.0.1"),
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("unknown, 10.0.0.5", "10.0.0.5"),
        ("203.0.113.9, _hidden, 10.0.0.5", "10.0.0.5"),
        ("", "10.0.0.1"),
        (", ,", "10.0.0.1"),
        ("203.0.113.9 " * 3, "10.0.0.1"),
        ("\xff", "10.0.0.1"),
        ("[203.0.113.9", "203.0.113.9"),
        ("999.1.1.1", "10.0.0.1"),
    ],
)
def test_with_proxies_that_are_named_the_last_other_address_counts(forwarded: str, client: str) -> None:
    assert seen(["10.0.0.0/8"], "10.0.0.1", forwarded)[0] == client
    assert seen(["10.0.0.0/8"], "::ffff:10.0.0.1", forwarded)[0] in (client, f"::ffff:{client}")


def test_nobody_else_is_believed() -> None:
    assert seen(["10.0.0.0/8"], "192.0.2.1", "203.0.113.9", proto=["https"]) == ("192.0.2.1", "http")
    assert seen(["10.0.0.0/8"], None, "203.0.113.9") == (None, "http")


def test_a_long_list_is_read_from_its_end_and_not_to_its_beginning() -> None:
    client = seen(["10.0.0.0/8"], "10.0.0.1", "203.0.113.9, " + "10.0.0.2, " * 100 + "10.0.0.3")[0]
    assert client == "10.0.0.2"


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [(["https"], "https"), (["https, http"], "http"), (["http", "HTTPS"], "https"), (["ftp"], "http")],
)
def test_the_scheme_is_that_of_the_last_proxy(proto: list[str], scheme: str) -> None:
    assert seen(["*"], "10.0.0.1", proto=proto)[1] == scheme


def test_ipv4_addresses_in_ipv6_are_ipv4_addresses() -> None:
    assert str(parse_address("::ffff:203.0.113.1")) == "203.0.113.1"
    assert str(parse_address("64:ff9b::203.0.113.1")) == "203.0.113.1"
    assert str(parse_address("2002:cb00:7101::1")) == "2002:cb00:7101::1"
    assert str(parse_address("::1")) == "::1"
