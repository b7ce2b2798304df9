"""Turns errors of the operating system and of LanceDB into errors of ours.

In: an `OSError`, or whatever LanceDB raises, whose texts hold paths and places in its source. Out: an error that names
the index as its user does, and says what to do; the original error is its cause.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from farthing.core.errors import (
    DiskFullError,
    FarthingError,
    IndexAccessError,
    IndexPlaceError,
    UnreadableIndexError,
    VectorIndexError,
)

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
OTHER_KIND = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP}
OS_ERROR = re.compile(r"\(os error (\d{1,4})\)")  # as Rust writes it


@contextmanager
def file_errors(place: str) -> Iterator[None]:
    """Wrap work on the files of the index in `place`. Raises a `FarthingError` for each `OSError`."""
    try:
        yield
    except OSError as error:
        raise error_of(error.errno or 0, place) from error


@contextmanager
def lance_errors(place: str) -> Iterator[None]:
    """Wrap calls of LanceDB. Raises `VectorIndexError` for LanceDB's errors, which have no common class."""
    try:
        yield
    except (FarthingError, MemoryError, AssertionError):
        raise
    except OSError as error:
        raise error_of(error.errno or 0, place) from error
    except Exception as error:
        found = OS_ERROR.search(str(error))
        if found and int(found[1]) != errno.ENOENT:
            raise error_of(int(found[1]), place) from error
        raise unreadable(place) from error


def error_of(number: int, place: str) -> FarthingError:
    reason = os.strerror(number)
    if number in NO_ROOM:
        return DiskFullError(
            f"The disk is full: nothing more can be written to the index {place}. Make room and ask again; what it "
            "held before is kept."
        )
    if number in NOT_ALLOWED:
        return IndexAccessError(
            f"The files of the index {place} cannot be read or changed: {reason}. Let the user that runs Farthing do "
            "so, or take another place."
        )
    if number in OTHER_KIND:
        return IndexPlaceError(
            f"There can be no index {place}: {reason}. An index is a folder of its own; choose another place.",
            param="store",
        )
    return VectorIndexError(f"The files of the index {place} cannot be used now: {reason}. Ask again.")


def unreadable(place: str) -> UnreadableIndexError:
    return UnreadableIndexError(
        f"The data of the index {place} cannot be read: files of it are missing, cut off or garbled. Put them back "
        "from a copy, or remove the index and make it anew."
    )
