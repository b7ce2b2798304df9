"""Files that are there whole or not at all, also after the machine lost power."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)


def write_atomically(path: Path, write: Callable[[Path], object], *, private: bool = False) -> None:
    """Let `write` fill a temporary file beside `path`, then give it that name. When it fails, nothing is left.

    The temporary file has a name that was free, so that no other file is overwritten, nor what a link leads to.
    `private`: nobody but its owner may read it.
    """
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")  # a name has 255 bytes at most
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE if private else 0o666))
    try:
        write(temporary)
        sync(temporary)
        move(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_of(name: str) -> str | None:
    """Which file a process that was killed was writing, by the temporary name that it left; None for other names."""
    found = TEMPORARY.fullmatch(name)
    return found["name"] if found else None


def move(source: Path, target: Path) -> None:
    """Rename on one file system, durably; an existing `target` is replaced."""
    source.replace(target)
    if os.name != "nt":  # Windows has no way to sync a folder
        sync_folder(target.parent)


def sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
