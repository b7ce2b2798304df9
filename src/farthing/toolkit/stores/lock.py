"""Lets only one process, and one thread of it, change an index at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farthing.core.errors import IndexBusyError
from farthing.core.files import PRIVATE_FILE
from farthing.toolkit.stores.failures import file_errors


@contextmanager
def one_writer(file: Path, place: str) -> Iterator[None]:
    """Hold the lock of an index while the body runs.

    Args:
        file: the file that is locked; made where there is none, in a folder that is there. A symbolic link is not
            followed.
        place: the index's place, for the message.

    Raises:
        IndexBusyError: another process or thread holds the lock.
        VectorIndexError, IndexPlaceError: the file cannot be opened.
    """
    from filelock import FileLock, Timeout  # not for those who only search

    lock = FileLock(file, timeout=0, mode=PRIVATE_FILE)
    with file_errors(place):
        try:
            lock.acquire()
        except Timeout as error:  # which is an OSError too
            raise IndexBusyError(f"Another process is changing the index {place}. Wait until it ends.") from error
    try:
        yield
    finally:
        lock.release()
