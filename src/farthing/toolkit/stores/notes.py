"""Small files in which an index in a folder says what it is.

Such a folder may have been copied, cut off, or made by somebody else: what is read is checked like any input.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from farthing.core.errors import UnreadableIndexError

# As much as a field of Milvus holds, where the other notes are.
MAX_NOTE_BYTES = 65_535


def read_note(file: Path, place: str) -> str | None:
    """The text of a note, None where there is none. `place` is the index's, for messages.

    Raises:
        UnreadableIndexError: it is no plain file, too large, or no UTF-8.
        OSError: it cannot be read.
    """
    try:
        # A link could lead to a file of somebody else, and a pipe would be waited for.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if file.is_symlink():
            raise not_readable(file, place, "it is a symbolic link") from error
        raise
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise not_readable(file, place, "it is no plain file")
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(MAX_NOTE_BYTES + 1)
    if len(content) > MAX_NOTE_BYTES:
        raise not_readable(
            file, place, f"it has {max(facts.st_size, len(content)):,} bytes, and at most {MAX_NOTE_BYTES:,} are read"
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_readable(file, place, "it is not UTF-8") from error


def not_readable(file: Path, place: str, reason: str) -> UnreadableIndexError:
    return UnreadableIndexError(
        f"{file.name} of the index {place} cannot be read: {reason}. Put it back from a copy, or remove the index and "
        "make it anew."
    )
