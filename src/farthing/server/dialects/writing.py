"""Writes arrays of numbers as JSON without holding up other requests, and without holding all of the JSON at once.

orjson holds the interpreter's lock while it works. So rows are written a few at a time, in a thread when there are many
numbers, and go to the client as they are written: only the array and one piece of JSON are held.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LARGE_NUMBERS = 100_000  # a response with more takes more than a few milliseconds to write
PIECE_BYTES = 64 * 1024


class JsonRows:
    """A JSON list whose items are written when it is their turn.

    Args:
        items: [rows, ...]
        write: returns the JSON of an item, given its index and the item.
    """

    def __init__(self, items: Sequence[Any] | np.ndarray, write: Callable[[int, Any], bytes]) -> None:
        self._items, self._write = items, write

    def written(self) -> Iterator[bytes]:
        return map(self._write, range(len(self._items)), self._items)


def json_rows(rows: np.ndarray) -> JsonRows:
    """Return [rows, numbers] as a JSON list for each row."""
    return JsonRows(np.ascontiguousarray(rows), json_row)


def json_row(_: int, row: np.ndarray) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)


async def respond(write: Callable[[], object], num_numbers: int, headers: Mapping[str, str]) -> Response:
    """Return as JSON what `write` returns, which has about `num_numbers` numbers and may hold `JsonRows`."""
    if num_numbers > LARGE_NUMBERS:
        return StreamedJson(await run_in_threadpool(in_parts, write), headers)
    return Response(orjson.dumps(write(), default=in_whole), headers=dict(headers), media_type="application/json")


def in_whole(value: object) -> orjson.Fragment:
    """Return `JsonRows` as JSON. orjson calls this for objects that it does not know."""
    if not isinstance(value, JsonRows):
        raise TypeError(type(value))
    return orjson.Fragment(b"[" + b",".join(value.written()) + b"]")


def in_parts(write: Callable[[], object]) -> list[bytes | JsonRows]:
    """Return JSON in parts, with the rows apart from the text around them."""
    mark = secrets.token_hex(16)  # stands for rows; no client can have it in its texts
    rows: list[JsonRows] = []

    def keep(value: object) -> str:
        if not isinstance(value, JsonRows):
            raise TypeError(type(value))
        rows.append(value)
        return mark

    around = orjson.dumps(write(), default=keep).split(f'"{mark}"'.encode())
    parts: list[bytes | JsonRows] = [around[0]]
    for value, after in zip(rows, around[1:], strict=True):
        parts += [value, after]
    return parts


class StreamedJson(Response):
    """An answer that is written while it is sent; it is chunked, because its length is not known before."""

    media_type = "application/json"

    def __init__(self, parts: Sequence[bytes | JsonRows], headers: Mapping[str, str]) -> None:
        super().__init__(headers=dict(headers))
        del self.headers["content-length"]
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pieces = self._pieces()
        if scope.get("http_version") == "1.0":  # its clients know no chunks
            content = await run_in_threadpool(lambda: b"".join(pieces))
            await Response(content, headers=self.headers, media_type=self.media_type)(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while (piece := await run_in_threadpool(next, pieces, None)) is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _pieces(self) -> Iterator[bytes]:
        held = bytearray()
        for part in self._parts:
            if isinstance(part, bytes):
                held += part
                continue
            held += b"["
            for index, row in enumerate(part.written()):
                held += b"," + row if index else row
                if len(held) >= PIECE_BYTES:
                    yield bytes(held)
                    held.clear()
            held += b"]"
        yield bytes(held)


def count_chars(inputs: Sequence[str | Sequence[int]]) -> int:
    """Return the number of characters of texts; for token ids, the number of ids."""
    return sum(map(len, inputs))
