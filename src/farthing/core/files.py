"""Files that are there whole or not at all, also after the machine lost power."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then give it that name."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    sync(temporary)
    move(temporary, path)


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
