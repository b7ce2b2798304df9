"""Origins: where a page comes from, as browsers write it in the header Origin, and the list of origins that may call.

In: texts such as `https://app.example.org`, `chrome-extension://abc`, `null`; in the list also patterns, such as
`https://*.example.org`, `http://localhost:*`, `moz-extension://*`, `*`. Out: whether the list has an origin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.host_names import is_address, parse_authority

ANY = "*"
NULL = "null"  # the origin of a page that has none of its own: a file, a frame in a sandbox
DEFAULT_PORTS = {"http": 80, "https": 443}
SCHEME = re.compile("[a-z][a-z0-9+.-]*")
APP = re.compile(r"[!-~]*")  # what stands in place of a host where the scheme is an app's or an extension's
NOT_OF_ORIGINS = frozenset("/?#@\\")
NOT_OF_PAGES = ("ws", "wss")


@dataclass(frozen=True)
class Origin:
    """An origin. `port` is None for the scheme's own; `host` may be empty where the scheme is not the web's."""

    scheme: str
    host: str
    port: int | None = None


def parse_origin(text: str) -> Origin | None:
    """The origin that a text is, with nothing after it; None for any other text, such as `null`."""
    scheme, separator, rest = text.lower().partition("://")
    if not separator or not SCHEME.fullmatch(scheme) or scheme in NOT_OF_PAGES or NOT_OF_ORIGINS.intersection(rest):
        return None
    authority = parse_authority(rest)
    if scheme not in DEFAULT_PORTS:
        if authority is not None and not is_address(authority.host):
            return Origin(scheme, authority.host, authority.port)
        return Origin(scheme, rest) if APP.fullmatch(rest) and ANY not in rest else None
    if authority is None or (is_address(authority.host) and not is_as_browsers_write(authority.host)):
        return None
    return Origin(scheme, authority.host, None if authority.port == DEFAULT_PORTS[scheme] else authority.port)


def is_as_browsers_write(address: str) -> bool:
    """Whether browsers write an address this way: they write 127.0.0.1 for 127.1, 0x7f.1 and 127.0.0.01."""
    parts = address.split(".")
    return ":" in address or (
        len(parts) == 4 and all(part.isdigit() and str(int(part)) == part and int(part) < 256 for part in parts)
    )


@dataclass(frozen=True)
class Pattern:
    """An origin with wildcards: `ending` fits every host that ends with it, `is_any_port` every port."""

    origin: Origin
    ending: str | None = None
    is_any_port: bool = False

    def fits(self, origin: Origin) -> bool:
        own = self.origin
        if origin.scheme != own.scheme or not (self.is_any_port or origin.port == own.port):
            return False
        return origin.host == own.host if self.ending is None else origin.host.endswith(self.ending)


class Origins:
    """A list of origins. Raises `SettingsError`, with the setting's name, for an entry that no page's origin can fit.

    Attributes:
        has_any: whether the list has `*`, and so every origin.
    """

    def __init__(self, texts: Sequence[str], *, param: str) -> None:
        self.has_any = ANY in texts
        self._has_null = any(text.lower() == NULL for text in texts)
        self._patterns = [parse_pattern(text, param) for text in texts if text != ANY and text.lower() != NULL]

    def has(self, text: str) -> bool:
        """Whether `text`, the value of a header Origin, is in the list."""
        if self.has_any:
            return True
        if text == NULL:
            return self._has_null
        origin = parse_origin(text)
        return origin is not None and any(pattern.fits(origin) for pattern in self._patterns)


def parse_pattern(text: str, param: str) -> Pattern:
    """Parse one entry of the list. Raises `SettingsError`."""
    scheme, separator, rest = text.partition("://")
    rest = rest.removesuffix("/")
    is_any_port = rest.endswith(":*")
    rest = rest.removesuffix(":*")
    has_ending = rest == ANY or (rest.startswith("*.") and rest != "*.")
    origin = parse_origin(f"{scheme}{separator}{'x' if has_ending else ''}{rest[has_ending:]}")
    if origin is None:
        raise SettingsError(
            f"{param} has {text!r}, which is no origin of a page. An origin is a scheme and a host, and a port where "
            "it is not the scheme's own, without a path: https://example.org, http://localhost:3000, "
            "app://obsidian.md, or null. Names are in ASCII (xn--...). Patterns are https://*.example.org, "
            "http://localhost:*, moz-extension://*, and * for all.",
            param=param,
        )
    return Pattern(origin, origin.host[1:] if has_ending else None, is_any_port)
