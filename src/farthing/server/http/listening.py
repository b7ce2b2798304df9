"""The sockets on which a server listens, and how many connections they may have.

In: a host and a port, or the path of a Unix socket. Out: listening sockets, the address that clients on this machine
call, and a warning where others than this machine's users can come in and no key is asked for. Who may connect to a
Unix socket is decided by the permissions of its folder and by the umask.

Each connection needs an open file. The limit on open files that a process begins with is often 1,024, far below what
the system would give it; `fit_connections` raises it as far as the settings need.
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
# What `localhost` means (RFC 6761); a client may try either address first.
LOOPBACK = ("127.0.0.1", "::1")
NOT_THERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
TRIES = 10  # to find a port that is free on both addresses
OTHER_FILES = 512  # the model's, libraries', connections to other servers


def listeners_for(settings: ServerSettings) -> list[socket.socket]:
    """Return a listening socket for each address of the host, all on the same port. Raises as `listen`.

    A name other than localhost stands for its first address only: listening on more could be more than was meant.
    """
    if without_brackets(settings.host).lower() != "localhost":
        return [listen(settings.host, settings.port)]
    for _ in range(TRIES - 1 if settings.port == 0 else 0):
        try:
            return listen_on_loopback(settings.port)
        except SettingsError as error:
            logger.debug("Trying another port: %s", error)
    return listen_on_loopback(settings.port)


def listen_on_loopback(port: int) -> list[socket.socket]:
    """Return a listening socket for each loopback address that this machine has. Raises as `listen`."""
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
    """Return a listening socket. Raises `SettingsError` when the address cannot be used."""
    host = without_brackets(host)
    if host in ("", "*"):
        raise SettingsError(f"host is {host!r}; to listen on all addresses, give {ALL_IPV6}, or 0.0.0.0 for IPv4.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # A user who gives :: means all addresses.
        both = host == ALL_IPV6 and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        # What `create_server` adds to the system's own words is meant for programmers; errors about names have no
        # errno.
        is_of_name = isinstance(error, socket.gaierror) or error.errno is None
        reason = error.strerror if is_of_name else os.strerror(error.errno or 0)
        raise SettingsError(
            f"Cannot listen on {host} port {port}: {reason}. "
            "Choose another address with --host and --port (0: any free port).",
            param="port",
        ) from error


def without_brackets(host: str) -> str:
    """Return a host as the system takes it: an IPv6 address without the brackets that URLs put around it."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def base_url(host: str, listener: socket.socket, settings: ConnectionSettings) -> str:
    """Return an address that a client on this machine can call."""
    if settings.uds is not None:
        return f"unix:{settings.uds}"
    host = without_brackets(host)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "http" if settings.tls_certfile is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def exposure(listener: socket.socket, *, has_keys: bool, takes_known_clients: bool) -> str:
    """Return a warning about a server that others than this machine's users can reach and use; "" for any other server.

    With `takes_known_clients`, TLS lets in only clients whose certificate is known.
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
    """Return the same socket several times. uvloop accepts one connection per socket in a turn of its loop, and with
    many busy connections a turn is long: without this, new connections waited for seconds."""
    return [listener, *(listener.dup() for _ in range(ACCEPTS_A_TURN - 1))]


def listen_unix(path: str) -> socket.socket:
    """Return a listening Unix socket; a socket that another process left behind is replaced. Raises `SettingsError`."""
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
    """Raise the process's limit on open files as far as `settings` needs it.

    Returns settings with fewer connections where the system does not allow enough files.
    """
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
