"""Lines of a UTF-8 byte stream, counted, with the place of a wrong byte in the error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from farthing.core.errors import InputError
from farthing.toolkit.records.encoding import guessed_encoding

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A file without line ends, or with none where they are looked for, is not taken into memory as a whole.
MAX_LINE_BYTES = 64 * 2**20
# What Python puts in the place of bytes that are not UTF-8 (PEP 383).
FIRST_BYTE, LAST_BYTE = 0xDC80, 0xDCFF


class Stream(Protocol):
    def readline(self, limit: int, /) -> bytes: ...

    def close(self) -> None: ...


class Lines:
    """Iterates over decoded lines with their line ends; only "\\n" ends a line. After an error it goes on.

    Attributes:
        source: name of the input in messages.
        number: 1-based number of the last line handed out.
        num_bytes: bytes handed out so far.
        keeps_bytes: bytes that are not UTF-8 become lone surrogates, for `require_utf8`, and are no error here: where a
            line end may stand inside a record, a line must not be missing.
        guessed: encoding of the first line that is not UTF-8.
    """

    def __init__(self, stream: Stream, source: str) -> None:
        self.stream = stream
        self.source = source
        self.number = 0
        self.num_bytes = 0
        self.keeps_bytes = False
        self.guessed: str | None = None

    @property
    def place(self) -> str:
        return f"Line {self.number} of {self.source}"

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Raises `InputError` for a line that is too long or not UTF-8."""
        line = self.stream.readline(MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.num_bytes += len(line)
        if len(line) > MAX_LINE_BYTES:
            self._pass_over(line)
            raise InputError(
                f"{self.place} has more than {MAX_LINE_BYTES // 2**20} MiB; a line must not be longer. If the "
                "input is of another format, name it with --input-format.",
                param="input",
            )
        content = line.removeprefix(BYTE_ORDER_MARK) if self.number == 1 else line
        if self.keeps_bytes:
            return content.decode(errors="surrogateescape")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            self.note_encoding(content)
            raise not_utf8(self.place, content[error.start], error.start, self.guessed) from error

    def note_encoding(self, content: bytes) -> None:
        """By the first line that is not UTF-8: a guess takes milliseconds, and there may be millions of lines."""
        self.guessed = self.guessed or guessed_encoding(content) or "LATIN1"

    def _pass_over(self, line: bytes) -> None:
        """To the end of a line, of which this is the beginning."""
        while line and not line.endswith(b"\n"):
            line = self.stream.readline(MAX_LINE_BYTES)
            self.num_bytes += len(line)


def not_utf8(place: str, byte: int, position: int, encoding: str | None) -> InputError:
    probably = (encoding or "LATIN1").upper()
    return InputError(
        f"{place} is not UTF-8: byte 0x{byte:02x} at position {position + 1}. If it is {probably}, convert the file: "
        f"iconv -f {probably} -t UTF-8 OLD > NEW",
        param="input",
    )


def require_utf8(text: str, place: str, lines: Lines) -> None:
    """Raises `InputError` for text of `lines` with bytes that were kept."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        number = ord(text[error.start])
        if not FIRST_BYTE <= number <= LAST_BYTE:
            raise
        lines.note_encoding(text.encode(errors="surrogateescape"))
        raise not_utf8(place, number & 0xFF, len(text[: error.start].encode()), lines.guessed) from error


def without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")
