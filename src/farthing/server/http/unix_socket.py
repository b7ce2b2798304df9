"""Listening on a Unix socket.

In: its path. Out: a listening socket. Who may connect is a matter of the folder's permissions and of the umask.
"""

from __future__ import annotations

import socket
from pathlib import Path

from farthing.core.errors import SettingsError

BACKLOG = 2048


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
