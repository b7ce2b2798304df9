"""In what a file is encoded that is not UTF-8, by the byte-order mark that it begins with."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO

from farthing.core.errors import InputError

# The longer marks first: they begin as shorter ones do.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
HEAD_BYTES = 8192


def encoding_of(head: bytes, name: str) -> str | None:
    """Of what begins with these bytes; None of UTF-8. Raises `InputError` for what is no text, by its zero bytes."""
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head[:HEAD_BYTES]:
        raise InputError(
            f"{name} is not text: it holds zero bytes. If it is UTF-16 without a byte-order mark, convert it, for "
            "example: iconv -f UTF-16LE -t UTF-8 OLD > NEW",
            param="input",
        )
    return None


def not_encoded(name: str, encoding: str, error: UnicodeDecodeError) -> InputError:
    return InputError(
        f"{name} begins as {encoding.upper()} and is not: {error.reason} at byte {error.start}.", param="input"
    )


class Recoded:
    """Lines of a stream in another encoding, in UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str, name: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding, newline="")
        self._encoding, self._name = encoding, name

    def readline(self, limit: int) -> bytes:
        """At most `limit` characters. Raises `InputError` for what is not of the encoding."""
        try:
            return self._text.readline(limit).encode()
        except UnicodeDecodeError as error:
            raise not_encoded(self._name, self._encoding, error) from error

    def close(self) -> None:
        self._text.close()
