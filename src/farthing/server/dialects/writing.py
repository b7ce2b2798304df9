"""Arrays of numbers into JSON without holding up other requests.

orjson holds the interpreter's lock while it works. Rows are written one at a time, in a thread when there are many
numbers, so that the lock goes back to the event loop in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

LARGE_NUMBERS = 100_000  # a response that takes more than a few milliseconds to write


def json_rows(rows: np.ndarray) -> list[orjson.Fragment]:
    """Each row of [rows, numbers], as a JSON list."""
    whole = np.ascontiguousarray(rows)
    return [orjson.Fragment(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)) for row in whole]


async def respond(write: Callable[[], object], num_numbers: int, headers: Mapping[str, str]) -> Response:
    """What `write` gives, which has about `num_numbers` numbers, as JSON."""

    def body() -> bytes:
        return orjson.dumps(write())

    content = await run_in_threadpool(body) if num_numbers > LARGE_NUMBERS else body()
    return Response(content, headers=dict(headers), media_type="application/json")


def count_chars(inputs: Sequence[str | Sequence[int]]) -> int:
    """Characters of texts; of token ids, their number."""
    return sum(map(len, inputs))
