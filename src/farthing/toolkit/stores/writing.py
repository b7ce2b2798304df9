"""One process, and one thread of it, changes an index at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from farthing.core.errors import IndexBusyError


@contextmanager
def one_writer(file: Path, place: str) -> Iterator[None]:
    """
    Args:
        file: that is locked; made, with its folder, where there is none.
        place: of the index, for the message.

    Raises:
        IndexBusyError: another holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise IndexBusyError(f"Another process is changing the index {place}. Wait until it ends.") from error
    try:
        yield
    finally:
        lock.release()
