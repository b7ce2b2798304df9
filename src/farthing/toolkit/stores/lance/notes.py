"""Reads small files in which an index in a folder says what it is.

Such a folder may have been copied, cut off, or made by somebody else, so what is read is checked like any input.
"""

from __future__ import annotations

from pathlib import Path

from farthing.core.errors import UnreadableIndexError
from farthing.core.files import UnfitFileError, read_small

# As much as a field of Milvus holds, where the notes of other indexes are.
MAX_NOTE_BYTES = 65_535


def read_note(file: Path, place: str) -> str | None:
    """The text of a note; None where there is none. `place` is the index's, for messages.

    Raises:
        UnreadableIndexError: the file is no plain file, too large, or not UTF-8. A link is not followed: it could lead
            to a file of somebody else.
        OSError: it cannot be read.
    """
    try:
        return read_small(file, MAX_NOTE_BYTES, follow_link=False)
    except UnfitFileError as error:
        raise UnreadableIndexError(
            f"{file.name} of the index {place} cannot be read: {error}. Put it back from a copy, or remove the index "
            "and make it anew."
        ) from error
