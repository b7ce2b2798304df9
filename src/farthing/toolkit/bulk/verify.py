"""Skips the rows that a job has finished already, and checks that the input still has them."""

from __future__ import annotations

from collections.abc import Iterator

from farthing.core.errors import InputError
from farthing.toolkit.bulk.folder import DIGEST_BYTES, PartialFolder, StoredChunk, digest
from farthing.toolkit.records.reader import Reader


def skip_done(reader: Reader, folder: PartialFolder) -> None:
    """Take the rows of all committed chunks from `reader`, so that it stands before the first row to embed.

    Raises:
        InputError: one of these rows has changed, or the input has too few; the message names the first place.
    """
    for chunk in folder.chunks():
        expected = digests_of(chunk)
        rows = reader.take(chunk.stop - chunk.start)
        found = [digest(identity) for identity in rows.identities()] if rows else []
        for index, (wanted, got) in enumerate(zip(expected, found, strict=False)):
            if wanted != got:
                assert rows is not None
                place = f"Record {chunk.start + index + 1:,}" if index in rows.errors else rows.place(index)
                raise InputError(changed(f"{place} is not what it was", folder), param="input")
        if len(found) < chunk.stop - chunk.start:
            raise InputError(
                changed(f"The input now ends after row {chunk.start + len(found):,}", folder), param="input"
            )


def digests_of(chunk: StoredChunk) -> Iterator[bytes]:
    content = chunk.digests.read_bytes()
    return (content[start : start + DIGEST_BYTES] for start in range(0, len(content), DIGEST_BYTES))


def changed(what: str, folder: PartialFolder) -> str:
    return (
        f"{what}, but {folder.path} holds rows that were embedded from it. "
        "Give the input as it was, or start again with --restart."
    )
