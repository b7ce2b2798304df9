"""Embeds passages in parts that take some seconds each, and keeps the parts of documents that are not whole yet.

In: texts. Out: their vectors. A store takes whole documents, and a document of many megabytes is embedded for minutes.
After an interruption, its finished parts are found in a file of the index, and only the rest is embedded.
"""

from __future__ import annotations

import os
import stat
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np

from farthing.core.files import PRIVATE_FILE
from farthing.toolkit.stores.database import BEGUN_MARK
from farthing.toolkit.stores.failures import file_errors

Embed = Callable[[Sequence[str]], np.ndarray]

# Passages are embedded and put together in amounts that take about so long, since the current amount is lost when the
# process is killed. How many characters that is becomes known once the first ones were embedded.
SECONDS_A_PUT, FIRST_CHARS, LEAST_CHARS, MOST_CHARS = 10.0, 20_000, 2_000, 4_000_000
KEY_BYTES = 16
PART = struct.Struct("<III")  # number of vectors, dimensions, CRC-32 of what follows: keys, then float32 numbers


class PartSize:
    """The number of characters that are embedded in about `SECONDS_A_PUT`."""

    def __init__(self) -> None:
        self.num_chars = FIRST_CHARS

    def note(self, num_chars: int, seconds: float) -> None:
        """Take note that so many characters took so many seconds. A part much smaller than usual tells little."""
        if num_chars >= self.num_chars / 4:
            fitting = int(num_chars * SECONDS_A_PUT / max(seconds, 1e-3))
            self.num_chars = max(LEAST_CHARS, min(fitting, 4 * self.num_chars, MOST_CHARS))


class PassageEmbedder:
    """
    Args:
        embed: makes the store's vectors of texts.
        begun: keeps the parts of what is embedded in several parts; None where they cannot be kept.
        on_part: called before each part of a call of `vectors`, with the number of vectors that the call has made so
            far.
    """

    def __init__(
        self, embed: Embed, begun: BegunVectors | None, on_part: Callable[[int], object] = lambda _: None
    ) -> None:
        self._embed, self._begun, self._on_part = embed, begun, on_part
        self.part_size = PartSize()
        self._num_parts = 0  # of the last call

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of the texts: float32 [texts, dimensions]. Raises what embedding raises, and `VectorIndexError`
        for the file of the kept parts."""
        parts: list[np.ndarray] = []
        first = 0
        while first < len(texts):
            self._on_part(first)
            end = first + self._num_fitting(texts, first)
            parts.append(self._part(texts[first:end], is_all=end - first == len(texts)))
            first = end
        self._num_parts = len(parts)
        return np.concatenate(parts)

    def are_put(self, *, is_end: bool = False) -> None:
        """Drop the kept parts, since the store has the vectors of the last call, or at the end all vectors."""
        if self._begun is not None and (is_end or self._num_parts > 1):
            self._begun.clear()

    def _num_fitting(self, texts: Sequence[str], first: int) -> int:
        num_chars = 0
        for number in range(first, len(texts)):
            num_chars += len(texts[number])
            if num_chars >= self.part_size.num_chars:
                return number - first + 1
        return len(texts) - first

    def _part(self, texts: Sequence[str], *, is_all: bool) -> np.ndarray:
        held = {} if self._begun is None else self._begun.held(texts)
        missing = [text for text in texts if text not in held]
        if missing:
            started = time.monotonic()
            found = self._embed(missing)
            self.part_size.note(sum(map(len, missing)), time.monotonic() - started)
            if not is_all and self._begun is not None:
                self._begun.keep(missing, found)
            if not held:
                return found
            held.update(zip(missing, found, strict=True))
        return np.array([held[text] for text in texts])


class BegunVectors:
    """Vectors by the texts that they are of, in a file that one process at a time writes.

    A part that was cut off, or whose checksum is wrong, is ignored, and so is everything after it.

    Args:
        file: made when the first part is kept. A file that somebody else put there is neither read nor changed.
        place: the index's place, for messages.
        space: names the space of the vectors; vectors of other spaces are not found.
    """

    def __init__(self, file: Path, place: str, space: str) -> None:
        self._file, self._place = file, place
        self._space = blake2b(space.encode(), digest_size=KEY_BYTES).digest()
        self._starts: dict[bytes, tuple[int, int]] = {}  # by key, a vector's first byte and its dimensions
        self._end = 0  # where the last whole part ends
        with self._opened(os.O_RDONLY) as stream:
            if stream is not None:
                self._look_through(stream)

    def held(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors of those texts whose vectors are held, by text."""
        found: dict[str, np.ndarray] = {}
        if not self._starts:
            return found
        with self._opened(os.O_RDONLY) as stream:
            for text in texts:
                start = self._starts.get(self._key(text))
                if start is not None and stream is not None:
                    stream.seek(start[0])
                    found[text] = np.frombuffer(stream.read(4 * start[1]), "<f4")
        return found

    def keep(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep the vectors of these texts: float32 [texts, dimensions]."""
        keys, dimensions = [self._key(text) for text in texts], vectors.shape[1]
        content = b"".join(keys) + vectors.astype("<f4").tobytes()
        with self._opened(os.O_RDWR | os.O_CREAT) as stream:
            if stream is None:
                return
            if not self._end:
                self._end = stream.write(BEGUN_MARK)
            stream.seek(self._end)
            stream.truncate()
            stream.write(PART.pack(len(keys), dimensions, zlib.crc32(content)) + content)
            self._note(keys, dimensions)

    def clear(self) -> None:
        if self._end:
            with file_errors(self._place):
                self._file.unlink(missing_ok=True)
            self._starts, self._end = {}, 0

    def _key(self, text: str) -> bytes:
        return blake2b(text.encode(), digest_size=KEY_BYTES, key=self._space).digest()

    def _note(self, keys: Sequence[bytes], dimensions: int) -> None:
        """Note where the vectors of the next part are in the file, and where that part ends."""
        first = self._end + PART.size + KEY_BYTES * len(keys)
        self._starts.update((key, (first + 4 * dimensions * number, dimensions)) for number, key in enumerate(keys))
        self._end = first + 4 * dimensions * len(keys)

    def _look_through(self, stream: BinaryIO) -> None:
        num_bytes = os.fstat(stream.fileno()).st_size
        if stream.read(len(BEGUN_MARK)) != BEGUN_MARK:  # cut short
            return
        self._end = len(BEGUN_MARK)
        while len(head := stream.read(PART.size)) == PART.size:
            num, dimensions, checksum = PART.unpack(head)
            part_bytes = num * (KEY_BYTES + 4 * dimensions)
            if not part_bytes or part_bytes > num_bytes - stream.tell():
                return
            content = stream.read(part_bytes)
            if zlib.crc32(content) != checksum:
                return
            self._note([content[KEY_BYTES * each : KEY_BYTES * (each + 1)] for each in range(num)], dimensions)

    @contextmanager
    def _opened(self, flags: int) -> Iterator[BinaryIO | None]:
        """The open file; None where there is no file, or one that is not ours."""
        with file_errors(self._place):
            stream = opened(self._file, flags)
            if stream is None:
                yield None
                return
            with stream:
                mark = stream.read(len(BEGUN_MARK))
                stream.seek(0)
                yield stream if BEGUN_MARK.startswith(mark) else None


def opened(file: Path, flags: int) -> BinaryIO | None:
    """Open the file; None where there is none, and for a link or anything but a plain file."""
    try:
        descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE_FILE)
    except FileNotFoundError:
        return None
    except OSError:
        if file.is_symlink() or not file.is_file():
            return None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "r+b")
