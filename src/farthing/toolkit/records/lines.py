"""Reads lines of a UTF-8 byte stream and counts them; an error names the place of a wrong byte.

On request, lines in another encoding are read by a guess that the user is told. A file that has letters in UTF-8 counts
as UTF-8: a line of it that is something else is damaged, and an error.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from farthing.core.errors import InputError
from farthing.toolkit.records.encoding import GUESSED_BYTES, guessed_encoding

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A file without line ends, or with none where they are looked for, is not taken into memory as a whole.
MAX_LINE_BYTES = 64 * 2**20
# What Python puts in the place of bytes that are not UTF-8 (PEP 383).
FIRST_BYTE, LAST_BYTE = 0xDC80, 0xDCFF

logger = logging.getLogger(__name__)


class Stream(Protocol):
    def readline(self, limit: int, /) -> bytes: ...

    def close(self) -> None: ...


class LineLayout(NamedTuple):
    """How a file of lines is written, apart from what it says.

    Attributes:
        has_mark: whether it begins with the byte-order mark of UTF-8.
        line_end: the end of its first line.
        separator: what stands between the columns of CSV.
    """

    has_mark: bool = False
    line_end: str = "\n"
    separator: str = ","


USUAL_LAYOUT = LineLayout()


class Lines:
    """Iterates over decoded lines with their line ends; only "\\n" ends a line. Iteration goes on after an error.

    Args:
        on_remark: is told, in a sentence, how the input is read where that is not as usual.

    Attributes:
        source: name of the input in messages.
        number: 1-based number of the last line handed out.
        num_bytes: bytes handed out so far.
        keeps_bytes: whether bytes that are not UTF-8 become lone surrogates, for `require_utf8`, instead of an error:
            where a line end may stand inside a record, a line must not be missing.
        takes_guess: whether lines that are not UTF-8 are read in the encoding that the file seems to have.
        guessed: the encoding that the first line that is not UTF-8 seems to have.
        layout: the layout of what was handed out; a parser of columns sets the separator.
    """

    def __init__(self, stream: Stream, source: str, on_remark: Callable[[str], object] = logger.warning) -> None:
        self.stream = stream
        self.source = source
        self.on_remark = on_remark
        self.layout = USUAL_LAYOUT
        self.takes_guess = False
        self._num_utf8 = 0  # lines with letters of UTF-8
        self._encoding: str | None = None  # in which lines that are not UTF-8 are read
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
        """The next line. Raises `InputError` for a line that is too long or not UTF-8."""
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
        return self._decoded(self._first(line) if self.number == 1 else line)

    def _first(self, line: bytes) -> bytes:
        """The first line without a byte-order mark."""
        self.layout = self.layout._replace(
            has_mark=line.startswith(BYTE_ORDER_MARK), line_end="\r\n" if line.endswith(b"\r\n") else "\n"
        )
        return line.removeprefix(BYTE_ORDER_MARK)

    def _decoded(self, content: bytes) -> str:
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            guessed = self._by_guess(content)
            if guessed is not None:
                return guessed
            if self.keeps_bytes:
                return content.decode(errors="surrogateescape")
            raise not_utf8(self.place, content[error.start], error.start, self.guessed) from error
        self._num_utf8 += not content.isascii()
        return text

    def _by_guess(self, content: bytes) -> str | None:
        """The text of a line that is not UTF-8; None where it cannot be told, or no guess is asked for."""
        if self.guessed is None:
            self._guess(content)
        if self._encoding is None:
            return None
        try:
            return content.decode(self._encoding)
        except UnicodeDecodeError:
            return None

    def _guess(self, content: bytes) -> None:
        """Guess the encoding by the first line that is not UTF-8, and some that follow. This is done once: a guess
        takes milliseconds, and there may be millions of lines."""
        following = self._following() if self.takes_guess else b""
        found = guessed_encoding(content + following)
        self.guessed = found or "LATIN1"
        if self.takes_guess and found and not self._is_utf8(following):
            self._encoding = found
            self.on_remark(
                f"{self.source} is not UTF-8, and is read by a guess, as {found}. If that is wrong, convert it: "
                "iconv -f ENCODING -t UTF-8 OLD > NEW"
            )

    def _is_utf8(self, following: bytes) -> bool:
        """Whether the file is UTF-8 and the line that was handed out is damaged. Otherwise the file is in another
        encoding, in which a short line may look like UTF-8."""
        if self.layout.has_mark:
            return True
        lines = [line for line in following.splitlines() if not line.isascii()]
        num_utf8 = sum(map(is_utf8, lines))
        return 0 < self._num_utf8 + num_utf8 >= 1 + len(lines) - num_utf8

    def _following(self) -> bytes:
        """The whole lines after the one that was handed out, where they are at hand; a pipe is not waited for."""
        if not isinstance(self.stream, io.BufferedReader) or not self.stream.seekable():
            return b""
        following = self.stream.peek(GUESSED_BYTES)
        return following[: following.rfind(b"\n") + 1]

    def _pass_over(self, line: bytes) -> None:
        """Read to the end of a line that begins with `line`."""
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


def is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def require_utf8(text: str, place: str, lines: Lines) -> None:
    """Raise `InputError` for a text of `lines` in which bytes were kept that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        number = ord(text[error.start])
        if not FIRST_BYTE <= number <= LAST_BYTE:
            raise
        raise not_utf8(place, number & 0xFF, len(text[: error.start].encode()), lines.guessed) from error


def without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")
