"""Names of hosts: as a Host header or an origin gives them, and lists of names in the settings.

In: texts such as `localhost:30000`, `[::1]`, `*.example.org`. Out: a name and a port, or whether a list names it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError, shown

MAX_CHARS = 255
ANY = "*"
NAME = re.compile(r"[a-z0-9_%-]+(\.[a-z0-9_%-]+)*\.?")
PORT = re.compile(r"[0-9]{1,5}")
# Endings that no public name has: this machine answers for them, or the name service of its own network.
LOCAL_ENDINGS = (".localhost", ".local", ".internal", ".home.arpa", ".svc", ".cluster.local")


@dataclass(frozen=True)
class Authority:
    """A host in lower case, without brackets and without a dot at its end, and the port that follows it."""

    host: str
    port: int | None = None


def parse_authority(text: str) -> Authority | None:
    """The host, and the port if there is one, of a Host header; None for a text that is neither host nor host:port."""
    if len(text) > MAX_CHARS:
        return None
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        host = parse_ipv6(inside) if bracket else None
        colon, port = rest[:1], rest[1:]
        if host is None or colon not in ("", ":"):
            return None
    else:
        host, _, port = text.lower().partition(":")
        if not NAME.fullmatch(host):
            return None
        host = host.rstrip(".")
    if port and not (PORT.fullmatch(port) and 0 < int(port) < 65536):
        return None
    return Authority(host, int(port) if port else None)


def parse_ipv6(text: str) -> str | None:
    """The address as browsers write it; None for any other text."""
    try:
        return str(ipaddress.IPv6Address(text.partition("%")[0]))
    except ValueError:
        return None


def is_address(host: str) -> bool:
    """Whether `host`, of an `Authority`, is an address and no name.

    Browsers and curl take whatever ends in a number for an IPv4 address (127.1, 0x7f.1), and never ask a name service
    for it.
    """
    last = host.rpartition(".")[2]
    return ":" in host or last.isdigit() or bool(re.fullmatch("0x[0-9a-f]*", last))


def is_local_name(host: str) -> bool:
    """Whether `host`, of an `Authority`, is a name that nobody can have in the public name service."""
    return "." not in host or host.endswith(LOCAL_ENDINGS)


class HostNames:
    """A list of names. An entry is a name, `*.example.org` for all names below it, or `*` for any.

    Raises `SettingsError`, with the setting's name, for any other entry.
    """

    def __init__(self, names: Sequence[str], *, param: str) -> None:
        self._names: set[str] = set()
        self._endings: list[str] = []
        self._is_any = False
        for name in names:
            authority = parse_authority(name.removeprefix("*."))
            if name == ANY:
                self._is_any = True
            elif authority is None or authority.port is not None or "%" in name:
                raise SettingsError(
                    f"{param} has {shown(name)}; it must be the name of a host without scheme and port, such as "
                    "search.example.org (in ASCII: xn--...), *.example.org for all names below it, or * for any.",
                    param=param,
                )
            elif name.startswith("*."):
                self._endings.append(f".{authority.host}")
            else:
                self._names.add(authority.host)

    def has(self, host: str) -> bool:
        """Whether the list has `host`, of an `Authority`."""
        return self._is_any or host in self._names or any(map(host.endswith, self._endings))
