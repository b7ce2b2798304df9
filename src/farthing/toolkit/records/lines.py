"""Lines of a UTF-8 byte stream, counted, with the place of a wrong byte in the error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from farthing.core.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A file without line ends, or with none where they are looked for, is not taken into memory as a whole.
MAX_LINE_BYTES = 64 * 2**20


class Lines:
    """Iterates over decoded lines with their line ends; only "\\n" ends a line.

    Attributes:
        source: name of the input in messages.
        number: 1-based number of the last line handed out.
        num_bytes: bytes handed out so far.
    """

    def __init__(self, stream: BinaryIO, source: str) -> None:
        self.stream = stream
        self.source = source
        self.number = 0
        self.num_bytes = 0

    @property
    def place(self) -> str:
        return f"Line {self.number} of {self.source}"

    def __iter__(self) -> Iterator[str]:
        while line := self.stream.readline(MAX_LINE_BYTES + 1):
            self.number += 1
            if len(line) > MAX_LINE_BYTES:
                raise InputError(
                    f"{self.place} has more than {MAX_LINE_BYTES // 2**20} MiB; a line must not be longer. If the "
                    "input is of another format, name it with --input-format.",
                    param="input",
                )
            self.num_bytes += len(line)
            yield self.decode(line.removeprefix(BYTE_ORDER_MARK) if self.number == 1 else line)

    def decode(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.place} is not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}. "
                "Convert the file, for example: iconv -f LATIN1 -t UTF-8 OLD > NEW",
                param="input",
            ) from error


def without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")
