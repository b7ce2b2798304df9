"""How connections are made, and how long and large what comes over them may be."""

from __future__ import annotations

import ipaddress

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.settings.access import split_list
from farthing.core.settings.field import Checked, option


@dataclass(frozen=True)
class ConnectionSettings(Checked):
    """How connections are made, and how long and large what comes over them may be."""

    uds: str | None = option(None, "Listen on this Unix socket instead of an address.")
    tls_certfile: str | None = option(None, "Serve HTTPS with this certificate (PEM, with its chain).")
    tls_keyfile: str | None = option(None, "The certificate's private key (PEM), when it is in a file of its own.")
    tls_ca: str | None = option(None, "Take only clients with a certificate that one of these (PEM) signed.")
    trusted_proxies: str | None = option(
        None,
        "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses and networks with commas, or *.",
    )
    max_connections: int = option(16384, "Most open connections; further ones are closed at once.", minimum=1)
    max_header_bytes: int = option(32768, "Largest head of a request: its line and headers.", minimum=1024)
    header_timeout_s: float = option(
        10, "Longest time from a connection's opening, or a request's first byte, to the end of its head.", minimum=0.01
    )
    body_timeout_s: float = option(
        60, "Longest time for a body to come, and to wait until a client takes more of its answer.", minimum=0.01
    )
    idle_timeout_s: int = option(75, "How long a connection stays open after an answer.", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tls_certfile is None and (self.tls_keyfile or self.tls_ca):
            raise SettingsError("tls_keyfile and tls_ca need tls_certfile.", param="tls_certfile")
        for address in split_list(self.trusted_proxies):
            if address != "*" and not is_network(address):
                raise SettingsError(
                    f"trusted_proxies has {address!r}; it must be an IP address, a network such as 10.0.0.0/8, or *.",
                    param="trusted_proxies",
                )


def is_network(text: str) -> bool:
    """Whether the text is an address or a network, as `ipaddress` reads them."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
