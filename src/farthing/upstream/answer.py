"""An upstream's answer, read no further than an answer to what was asked can go.

In: a response that is still coming. Out: its status, headers and content, or `AttemptFailedError` as soon as the answer
is longer than allowed, compressed or not. Compression is undone here in bounded steps: a library that unpacks whatever
comes would hold a thousand times the bytes that were received.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import httpx

from farthing.core.deferred import dataclass

ACCEPTED = "gzip"  # in the header accept-encoding; the one compression that is undone
FLOOR_BYTES = 2**20
CEILING_BYTES = 2**30
ERROR_BYTES = FLOOR_BYTES  # for answers without vectors and scores: errors, health, lists of models
NUMBER_BYTES = 40  # for a number of a vector, as indented JSON
ITEM_BYTES = 1024  # for what is around a vector or a score
MOST_DIMENSIONS = 65_536  # of a vector, where it is not known yet how many there are


class AttemptFailedError(Exception):
    """The upstream broke off, answered 5xx, or answered something that makes no sense.

    Attributes:
        reason: one phrase, without anything that the upstream said.
        detail: what the upstream said.
        is_gone: whether it cannot be reached or does not answer, so that asking it again now is of no use.
    """

    def __init__(self, reason: str, *, detail: str = "", is_gone: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.is_gone = reason, detail, is_gone


class AttemptBusyError(Exception):
    """The upstream has too much to do, and wants to be left alone for `rest_s` seconds."""

    def __init__(self, rest_s: float) -> None:
        super().__init__("has too much to do (429)")
        self.rest_s = rest_s


@dataclass(frozen=True)
class UpstreamAnswer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_server_error(self) -> bool:
        return self.status >= 500


def vectors_limit(num_inputs: int, dimensions: int | None) -> int:
    """The longest answer, in bytes, that this many vectors can be."""
    return bounded(num_inputs * ((dimensions or MOST_DIMENSIONS) * NUMBER_BYTES + ITEM_BYTES))


def scores_limit(documents: Sequence[str]) -> int:
    """The longest answer, in bytes, that scores of these documents can be; some servers send the documents back."""
    return bounded(sum(len(document) * len(r"\u0000") * 2 + ITEM_BYTES for document in documents))


def bounded(num_bytes: int) -> int:
    return min(max(num_bytes, FLOOR_BYTES), CEILING_BYTES)


async def read_answer(response: httpx.Response, max_bytes: int) -> UpstreamAnswer:
    """Read a response up to its end.

    Raises:
        AttemptFailedError: it is longer than `max_bytes`, packed in a way that was not asked for, or cut short.
        httpx.RequestError: the connection broke.
    """
    limit = max_bytes if response.is_success else min(max_bytes, ERROR_BYTES)
    unpacked = unpacker(response)
    content, num_received = bytearray(), 0
    async for chunk in response.aiter_raw():
        num_received += len(chunk)
        content += chunk if unpacked is None else unpack(unpacked, chunk, limit + 1 - len(content))
        if max(len(content), num_received) > limit:
            raise AttemptFailedError(f"answered more than the {limit:,} bytes that an answer can have")
    if unpacked is not None and num_received and not unpacked.eof:
        raise AttemptFailedError("broke off", detail="the compressed answer ended early")
    return UpstreamAnswer(response.status_code, response.headers, bytes(content))


def unpacker(response: httpx.Response) -> zlib._Decompress | None:
    """What undoes the compression, or None where there is none. Raises `AttemptFailedError` for other compressions."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in (ACCEPTED, f"x-{ACCEPTED}"):
        raise AttemptFailedError("answered in a compression that was not asked for", detail=encoding[:100])
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def unpack(unpacked: zlib._Decompress, chunk: bytes, max_bytes: int) -> bytes:
    """Unpack a chunk to at most `max_bytes`, which is at least 1."""
    try:
        return unpacked.decompress(chunk, max_bytes)
    except zlib.error as error:
        raise AttemptFailedError("answered what cannot be unpacked", detail=str(error)) from error
