"""Files that are each packed by themselves (gzip and the like): known by their suffix, and read as what they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from farthing.core.errors import InputError

OPENERS: dict[str, Callable[[Path], Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}


def packing_of(name: str) -> str | None:
    suffix = PurePath(name).suffix.lower().removeprefix(".")
    return suffix if suffix in OPENERS else None


def name_inside(name: str) -> str:
    """The name without the suffix that says how the file is packed."""
    packing = packing_of(name)
    return name if packing is None else name[: -len(packing) - 1]


class Unpacked(io.BufferedIOBase):
    """What a packed file holds, as a stream. `name` is what messages call the file.

    Reading raises `InputError` once where the file is cut off or not what its suffix says; the stream ends there.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._stream = OPENERS[packing_of(path.name) or ""](path)
        self._name, self._is_over = name, False

    def readable(self) -> bool:
        return True

    def read(self, num_bytes: int | None = -1, /) -> bytes:
        return self._try(self._stream.read, -1 if num_bytes is None else num_bytes)

    def read1(self, num_bytes: int = -1, /) -> bytes:
        return self._try(self._stream.read1, num_bytes)

    def readline(self, limit: int | None = -1, /) -> bytes:
        return self._try(self._stream.readline, -1 if limit is None else limit)

    def peek(self, num_bytes: int) -> bytes:
        return self._try(self._stream.peek, num_bytes)

    def close(self) -> None:
        self._stream.close()
        super().close()

    def _try(self, read: Callable[[int], bytes], count: int) -> bytes:
        if self._is_over:
            return b""
        try:
            return read(count)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # an error of the disk, not of what is packed
                raise
            self._is_over = True
            raise InputError(f"{self._name} cannot be unpacked: {error}.", param="input") from error
