"""What the cache keeps of a text, and the key that it is found by.

An entry is the text's full vector in half precision, how long the vector was, and how many tokens the text has. In:
rows as a model pools them. Out: bytes; and from bytes, found or just made, the vectors that are answered. Both ways
lead through the same rounding, so that a hit and a miss give the same vector, bit for bit. The direction is stored as a
unit vector, because fp16 ends at 65,504; the length is stored beside it in fp32.

A key is a hash of all that fixes the vector, and of nothing else. In: what makes a model's vectors comparable, a
prompt, texts. Out: 16 bytes a text. No text is stored anywhere. The hash is BLAKE2b (RFC 7693), keyed with what does
not come from the request; its 128 bits make equal keys of different texts as unlikely as a wrong bit in memory.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.space import VectorSpace
from farthing.serving.vectors import finish_vectors

VERSION = 1
# Flags: the text was cut to the context; the model knows none of its words.
TRUNCATED, UNKNOWN = 1, 2
CHECKSUM_BYTES = 4
MOST_TOKENS = 2**24  # of one text, where its context is not known
UNIT_TOLERANCE = 0.01  # of a vector's length after rounding to fp16
KEY_BYTES = 16
# Version of the rules that lead from a text to its vector. It is raised when they change, so that older entries are not
# found.
RULES = 2


@lru_cache(maxsize=256)  # asked for with every answer
def entry_type(dimensions: int) -> np.dtype[np.void]:
    """The type of an entry's bytes; all entries of a model have the same size."""
    return np.dtype(
        [
            ("version", "u1"),
            ("flags", "u1"),
            ("num_tokens", "<u4"),
            ("length", "<f4"),
            ("vector", "<f2", (dimensions,)),
        ]
    )


def write_entries(
    rows: np.ndarray, num_tokens: Sequence[int], truncated: Collection[int], unknown: Collection[int] = ()
) -> list[bytes]:
    """Make an entry of each row.

    Args:
        rows: float32 [texts, hidden], finite, of any length.
        truncated: indices of texts that were cut.
        unknown: indices of texts of which the model knows no word.
    """
    table = np.zeros(len(rows), dtype=entry_type(rows.shape[1]))
    table["version"] = VERSION
    table["flags"][list(truncated)] |= TRUNCATED
    table["flags"][list(unknown)] |= UNKNOWN
    table["num_tokens"] = [min(number, MOST_TOKENS) for number in num_tokens]
    # Rows are scaled first, because squares of large numbers would not fit fp32.
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled = rows / np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    table["vector"] = scaled / np.maximum(norms, 1)  # at least 1 but for a row of zeros
    lengths = largest[:, 0].astype(np.float64) * norms[:, 0]
    table["length"] = np.minimum(lengths, np.finfo(np.float32).max)
    size, data = table.itemsize, table.tobytes()
    return [data[start : start + size] for start in range(0, len(data), size)]


def is_truncated(entry: bytes) -> bool:
    return bool(entry[1] & TRUNCATED)


@dataclass(frozen=True)
class ReadEntries:
    """
    Attributes:
        vectors: float32 [entries, dimensions].
        num_tokens: [entries]
        flags: [entries], `TRUNCATED` and `UNKNOWN` in each.
    """

    vectors: np.ndarray
    num_tokens: Sequence[int]
    flags: Sequence[int]


def read_entries(entries: Sequence[bytes], hidden: int, dimensions: int, *, normalize: bool) -> ReadEntries:
    """Read all entries at once; they are as `write_entries` returned them."""
    table = np.frombuffer(b"".join(entries), dtype=entry_type(hidden))
    vectors = table["vector"][:, :dimensions].astype(np.float32)
    if normalize:
        vectors = finish_vectors(vectors, dimensions, normalize=True)
    else:
        vectors *= table["length"][:, np.newaxis]
    return ReadEntries(vectors, table["num_tokens"].tolist(), table["flags"].tolist())


def seal(key: bytes, entry: bytes) -> bytes:
    """The entry as it goes to a store that others can write to."""
    return checksum(key, entry) + entry


def unseal(key: bytes, data: bytes | None, entry_bytes: int) -> bytes | None:
    """The entry in `data`, or None for whatever else was found under its key."""
    if data is None or len(data) != CHECKSUM_BYTES + entry_bytes:
        return None
    entry = data[CHECKSUM_BYTES:]
    return entry if entry[0] == VERSION and checksum(key, entry) == data[:CHECKSUM_BYTES] else None


def are_sound(entries: Sequence[bytes], entry_bytes: int, max_tokens: int = MOST_TOKENS) -> list[bool]:
    """Whether each entry is what `write_entries` could have written; their checksums are right already.

    That is a finite unit vector (or zeros), a finite length, and no more tokens than a text may have.
    """
    if not entries:
        return []
    hidden = (entry_bytes - entry_type(0).itemsize) // entry_type(1)["vector"].itemsize
    table = np.frombuffer(b"".join(entries), dtype=entry_type(hidden))
    norms = np.linalg.norm(table["vector"].astype(np.float32), axis=1)  # NaN or Inf where one of its numbers is
    lengths = table["length"]
    is_unit = (np.abs(norms - 1) <= UNIT_TOLERANCE) | ((norms == 0) & (lengths == 0))
    sound = is_unit & np.isfinite(lengths) & (lengths >= 0) & (table["num_tokens"] <= max_tokens)
    return [bool(is_sound) for is_sound in sound & (table["flags"] <= TRUNCATED | UNKNOWN)]


def checksum(key: bytes, entry: bytes) -> bytes:
    """The checksum of an entry and its key, so that an entry counts only in its own place.

    It is no defence against forgery.
    """
    return zlib.crc32(entry, zlib.crc32(key)).to_bytes(CHECKSUM_BYTES, "little")


def namespace(space: VectorSpace, context_length: int) -> bytes:
    """Return 32 bytes that differ between models, formats that round differently, poolings and contexts.

    The context counts because it decides where long texts are cut.
    """
    facts = [RULES, space.fingerprint, space.pooling, space.dimensions, context_length]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=32).digest()


def text_keys(space_key: bytes, prefix: str) -> Callable[[str], bytes]:
    """A function that makes the key of a cleaned text which follows `prefix`.

    The prefix goes in with its length, so that no text can pass for a prefix's end.
    """
    data = prefix.encode("utf-8", "surrogatepass")  # a prefix that is no text is refused where it is tokenised
    begun = hashlib.blake2b(len(data).to_bytes(8, "little") + data, digest_size=KEY_BYTES, key=space_key)

    def key(text: str) -> bytes:
        digest = begun.copy()
        digest.update(text.encode())
        return digest.digest()

    return key
