"""Where a server listens, and what is said of that.

In: a host and a port. Out: listening sockets, the address that clients on this machine call, and a warning where others
than its users can come in and no key is asked for.

Listening on a Unix socket.

In: its path. Out: a listening socket. Who may connect is a matter of the folder's permissions and of the umask.

How many files and connections the process may have open.

In: how many connections the settings allow. Out: how many there can be. The limit that a process begins with is often
1,024, far below what the system would give it.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

from farthing.core.errors import SettingsError
from farthing.core.settings import ConnectionSettings, ServerSettings
from farthing.server.callers.forwarded import parse_address

logger = logging.getLogger(__name__)
BACKLOG = 2048
ACCEPTS_A_TURN = 16
ALL_IPV6 = "::"
# What `localhost` means (RFC 6761), whichever of them a client tries first.
LOOPBACK = ("127.0.0.1", "::1")
NOT_THERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
TRIES = 10  # to find a port that is free on both
OTHER_FILES = 512  # the model's, libraries', connections to other servers


def listeners_for(settings: ServerSettings) -> list[socket.socket]:
    """One for each address to listen on, all with one port. Of a name other than localhost that is its first address:
    more than one could be more than was meant. Raises as `listen`."""
    if without_brackets(settings.host).lower() != "localhost":
        return [listen(settings.host, settings.port)]
    for _ in range(TRIES - 1 if settings.port == 0 else 0):
        try:
            return listen_on_loopback(settings.port)
        except SettingsError as error:
            logger.debug("Trying another port: %s", error)
    return listen_on_loopback(settings.port)


def listen_on_loopback(port: int) -> list[socket.socket]:
    """On each of this machine's own addresses that it has. Raises as `listen`."""
    found: list[socket.socket] = []
    for address in LOOPBACK:
        try:
            found.append(listen(address, found[0].getsockname()[1] if found else port))
        except SettingsError as error:
            cause = error.__cause__
            is_there = isinstance(cause, OSError) and cause.errno not in NOT_THERE
            if is_there or (address == LOOPBACK[-1] and not found):
                for listener in found:
                    listener.close()
                raise
    return found


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `SettingsError` when the address cannot be had."""
    host = without_brackets(host)
    if host in ("", "*"):
        raise SettingsError(f"host is {host!r}; to listen on all addresses, give {ALL_IPV6}, or 0.0.0.0 for IPv4.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # Who says :: means all addresses.
        both = host == ALL_IPV6 and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        # What `create_server` adds to the system's own words is for programmers; of names there is no errno.
        is_of_name = isinstance(error, socket.gaierror) or error.errno is None
        reason = error.strerror if is_of_name else os.strerror(error.errno or 0)
        raise SettingsError(
            f"Cannot listen on {host} port {port}: {reason}. "
            "Choose another address with --host and --port (0: any free port).",
            param="port",
        ) from error


def without_brackets(host: str) -> str:
    """An IPv6 address as URLs write it, or any other host, as the system takes it."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def base_url(host: str, listener: socket.socket, settings: ConnectionSettings) -> str:
    """An address that a client on this machine can call."""
    if settings.uds is not None:
        return f"unix:{settings.uds}"
    host = without_brackets(host)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "http" if settings.tls_certfile is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def exposure(listener: socket.socket, *, has_keys: bool, takes_known_clients: bool) -> str:
    """What to tell of a server that others than this machine's users can reach and use; nothing of any other.

    With `takes_known_clients` TLS lets in only those whose certificate is known.
    """
    if has_keys or takes_known_clients or listener.family == getattr(socket, "AF_UNIX", None):
        return ""
    address = parse_address(listener.getsockname()[0])
    if address is not None and address.is_loopback:
        return ""
    return (
        "This server asks for no API key: everyone who can reach this machine can use it, and read and change its "
        "indexes. Set a key with FARTHING_API_KEY or --api-keys-file, or listen on 127.0.0.1 alone (--host)."
    )


def often_accepted(listener: socket.socket) -> list[socket.socket]:
    """The same socket several times. uvloop accepts one connection a turn of its loop for each socket, and with many
    busy connections a turn is long: without this, new ones waited for seconds."""
    return [listener, *(listener.dup() for _ in range(ACCEPTS_A_TURN - 1))]


def listen_unix(path: str) -> socket.socket:
    """A listening Unix socket; one that a process left behind is replaced. Raises `SettingsError`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket() and not is_listened_on(path):
            Path(path).unlink()
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(f"Cannot listen on {path}: {error.strerror or error}.", param="uds") from error
    return listener


def is_listened_on(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        return client.connect_ex(path) == 0


def fit_connections(settings: ConnectionSettings) -> ConnectionSettings:
    """Raise the process's limit as far as `settings` needs it; with fewer connections where the system gives less."""
    if sys.platform == "win32":
        return settings
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    if allowed == wanted:
        return settings
    num_connections = max(allowed - OTHER_FILES, allowed // 2)
    logger.warning(
        "At most %d connections instead of %d: the process may open %d files (ulimit -Hn, LimitNOFILE)",
        num_connections, settings.max_connections, allowed,
    )  # fmt: skip
    return replace(settings, max_connections=num_connections)
