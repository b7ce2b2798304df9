"""The header of a GGUF file: its metadata, and where each tensor lies.

In: a file. Out: a `GgufHeader`; no weights are read. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
The gguf package has a reader too, which takes seconds and hundreds of MiB for a Qwen3 file's 300,000 tokens and merges
(figures in docs/checkpoints.md). This module does not read version 1, big-endian files, or models split into several
files.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32  # the alignment of the data, where general.alignment says nothing else
MAX_DIMENSIONS = 4
# The format's numbers of value types, with struct's letters for the types of fixed size.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
LAYOUTS = {letter: struct.Struct(f"<{letter}") for letter in SCALARS.values()}
STRING, ARRAY = 8, 9


@dataclass(frozen=True)
class GgufTensor:
    """
    Attributes:
        shape: outermost first, as in numpy (the file has it the other way round).
        type: ggml's number of the type.
        offset: where the tensor's data begin in the file, in bytes.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True)
class GgufHeader:
    """
    Attributes:
        data_offset: where the tensors' data begin, in bytes.
        file_bytes: the length of the file.
    """

    metadata: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]
    data_offset: int
    file_bytes: int


def is_gguf(path: Path) -> bool:
    """Whether the path is a file that begins as GGUF files do; its name does not count. Raises `CheckpointError`."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Check its permissions, and the disk.") from error


def read_header(path: Path, *, with_arrays: bool = False) -> GgufHeader:
    """The header of a GGUF file.

    Args:
        with_arrays: whether arrays are kept in the metadata: a tokenizer's are large.

    Raises:
        CheckpointError: the file cannot be read, is no GGUF of a known version, is cut short, or contradicts itself.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return HeaderReader(data, with_arrays).header()
    except (OSError, ValueError) as error:  # ValueError: also an empty file, or text that is no UTF-8
        raise CheckpointError(f"{path} is not a whole GGUF file ({error}). Download it again.") from error


class HeaderReader:
    """Reads values one after the other, from a place in the file that moves on. Beyond the end is a `ValueError`."""

    def __init__(self, data: mmap.mmap, with_arrays: bool) -> None:
        self._data, self._with_arrays = data, with_arrays
        self._offset = 0

    def header(self) -> GgufHeader:
        self._check_version()
        num_tensors, num_values = self._scalar("Q"), self._scalar("Q")
        metadata = dict(self._pair() for _ in range(num_values))
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise ValueError(f"general.alignment is {alignment!r}, not a power of two")
        tensors = [self._tensor() for _ in range(num_tensors)]
        start = -(-self._offset // alignment) * alignment
        placed = tuple(GgufTensor(item.name, item.shape, item.type, start + item.offset) for item in tensors)
        if len({item.name for item in placed}) != num_tensors:
            raise ValueError("two tensors have the same name")
        return GgufHeader(metadata, placed, start, len(self._data))

    def _check_version(self) -> None:
        if self._take(len(MAGIC)) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self._scalar("I")
        if version not in VERSIONS:
            raise ValueError(f"its version is {version}; little-endian files of version 2 and 3 can be read")

    def _pair(self) -> tuple[str, Any]:
        return self._string(), self._value(self._scalar("I"))

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            return self._array()
        if kind not in SCALARS:
            raise ValueError(f"a metadata value is of the unknown type {kind}")
        return self._scalar(SCALARS[kind])

    def _array(self) -> tuple[Any, ...] | None:
        """The array that comes next; None where arrays are not kept."""
        kind, count = self._scalar("I"), self._scalar("Q")
        if kind == STRING and self._with_arrays:
            return tuple(self._string() for _ in range(count))
        if kind == STRING:
            for _ in range(count):
                self._skip(self._scalar("Q"))
            return None
        if kind not in SCALARS:
            raise ValueError(f"a metadata array holds values of type {kind}")
        letter = SCALARS[kind]
        numbers = self._take(count * LAYOUTS[letter].size)
        return struct.unpack(f"<{count}{letter}", numbers) if self._with_arrays else None

    def _tensor(self) -> GgufTensor:
        """The tensor that comes next, with its offset relative to where the data begin."""
        name, num_dimensions = self._string(), self._scalar("I")
        if not 1 <= num_dimensions <= MAX_DIMENSIONS:
            raise ValueError(f"{name} has {num_dimensions} dimensions")
        dimensions = [self._scalar("Q") for _ in range(num_dimensions)]
        return GgufTensor(name, tuple(reversed(dimensions)), self._scalar("I"), self._scalar("Q"))

    def _scalar(self, letter: str) -> Any:
        layout = LAYOUTS[letter]
        at = self._offset
        self._skip(layout.size)
        return layout.unpack_from(self._data, at)[0]

    def _string(self) -> str:
        return self._take(self._scalar("Q")).decode()

    def _take(self, num_bytes: int) -> bytes:
        at = self._offset
        self._skip(num_bytes)
        return self._data[at : self._offset]

    def _skip(self, num_bytes: int) -> None:
        self._offset += num_bytes
        if self._offset > len(self._data):
            raise ValueError("it is cut short")
