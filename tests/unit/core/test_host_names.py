from __future__ import annotations

import pytest

from farthing.core.errors import SettingsError
from farthing.core.host_names import Authority, HostNames, is_address, is_local_name, parse_authority


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", None),
        ("LocalHost.:30000", "localhost", 30000),
        ("search.example.org:80", "search.example.org", 80),
        ("my_service:30000", "my_service", 30000),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]", "::1", None),
        ("[0:0::1]:30000", "::1", 30000),
        ("[fe80::1%eth0]:8", "fe80::1", 8),
        ("host:", "host", None),
        ("%2Frun%2Fsocket", "%2frun%2fsocket", None),
    ],
)
def test_hosts_and_ports_are_read(text: str, host: str, port: int | None) -> None:
    assert parse_authority(text) == Authority(host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":30000", "a b", "a/b", "a..b", ".", "a@b", "[::1", "::1", "[::1]x", "[::1]:x", "[nothing]", "a:b", "a:0",
     "a:65536", "a:999999999", "a:-1", "\xe9", "<script>", "a,b", "a" * 300, "a." * 100_000],
)  # fmt: skip
def test_what_is_no_host_is_none(text: str) -> None:
    assert parse_authority(text) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.2.3", "127.1", "2130706433", "0x7f.1", "0x7f000001", "::1", "1.2.3.08"]
)
def test_what_browsers_take_for_an_address_is_one(host: str) -> None:
    assert is_address(host)


@pytest.mark.parametrize("host", ["localhost", "1.example.org", "0xyz.example", "a1", "127.0.0.1.evil.example"])
def test_names_are_no_addresses(host: str) -> None:
    assert not is_address(host)


def test_names_that_are_not_public_are_local() -> None:
    local = ("localhost", "a.localhost", "farthing", "farthing.default.svc", "farthing.default.svc.cluster.local",
             "printer.local", "host.docker.internal", "box.home.arpa")  # fmt: skip
    public = ("evil.example", "localhost.evil.example", "svc.evil.example", "notlocal.x", "a.svc.x", "farthing.default")
    assert all(map(is_local_name, local))
    assert not any(map(is_local_name, public))


def test_a_list_has_names_all_below_a_name_and_any() -> None:
    names = HostNames(["search.example.org", "*.Example.NET"], param="allowed_hosts")
    assert names.has("search.example.org")
    assert names.has("a.example.net")
    assert names.has("a.b.example.net")
    for other in ("example.net", "evilexample.net", "example.org", "a.search.example.org", "search.example.org.evil.x"):
        assert not names.has(other), other
    assert HostNames(["*"], param="allowed_hosts").has("anything.example")


@pytest.mark.parametrize(
    "name", ["https://a.example", "a.example:80", "a.*.example", "*a.example", "*.", "a b", "münchen.example", "a/b"]
)
def test_an_entry_that_is_no_name_is_an_error(name: str) -> None:
    with pytest.raises(SettingsError, match="name of a host without scheme and port"):
        HostNames([name], param="allowed_hosts")
