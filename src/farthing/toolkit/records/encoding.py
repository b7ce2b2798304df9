"""Finds a file's encoding other than UTF-8: by the byte-order mark at its beginning, or by a guess that users are
told."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO

from farthing.core.errors import InputError
from farthing.toolkit.records.not_text import check_is_text

# Longer marks come first, since they begin as shorter ones do.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
HEAD_BYTES = 8192
# The encodings that people's files have, the most common first.
GUESSED = (
    "cp1252", "gb18030", "shift_jis", "euc_kr", "big5", "euc_jp", "cp1251", "koi8_r", "cp1250", "cp1253", "cp1254",
    "cp1255", "cp1256", "cp874",
)  # fmt: skip
# Among encodings that are equally likely, these are taken first. Latin letters are the same in several.
PREFERRED = ("gb18030", "cp1252")
GUESSED_BYTES = 2**16


def encoding_of(head: bytes, name: str) -> str | None:
    """The encoding of a file that begins with these bytes; None for UTF-8. Raises `InputError` for a file that is not
    text, told by how it begins or by zero bytes."""
    check_is_text(head, name)
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


def guessed_encoding(content: bytes) -> str | None:
    """The likely encoding of text that is not UTF-8, by its beginning; None where it cannot be told."""
    from charset_normalizer import from_bytes  # takes 50 ms, which few files need

    first = next((place for place, byte in enumerate(content) if byte >= 0x80), 0)
    start = content.rfind(b"\n", 0, first) + 1  # no character is cut there
    matches = list(from_bytes(content[start : start + GUESSED_BYTES], cp_isolation=list(GUESSED)))
    if not matches:
        return None
    best = matches[0]
    likely = [match for match in matches if (match.chaos, -match.coherence) <= (best.chaos, -best.coherence)]
    names = [name for match in likely for name in match.could_be_from_charset]
    return next((name for name in PREFERRED if name in names), best.encoding)


def not_encoded(name: str, encoding: str, error: UnicodeDecodeError) -> InputError:
    return InputError(
        f"{name} begins as {encoding.upper()} and is not: {error.reason} at byte {error.start}.", param="input"
    )


class Recoded:
    """The lines of a stream in another encoding, as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str, name: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding, newline="")
        self._encoding, self._name = encoding, name
        self._is_over = False

    def readline(self, limit: int) -> bytes:
        """The next line, of at most `limit` characters. Raises `InputError` once, for bytes of another encoding, and
        ends there."""
        if self._is_over:
            return b""
        try:
            return self._text.readline(limit).encode()
        except UnicodeDecodeError as error:
            self._is_over = True
            raise not_encoded(self._name, self._encoding, error) from error

    def close(self) -> None:
        self._text.close()
