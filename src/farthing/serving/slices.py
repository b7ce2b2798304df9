"""A request in slices: on the way through the queue, and put together again as the vectors that were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from farthing.engine.load import LoadedModel
from farthing.serving.prepare import Input, Prepared
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.serving.vectors import check_dimensions, finish_vectors


@dataclass(frozen=True)
class Slice:
    """Inputs of a request from index `start` on, with what they are to be prepared with."""

    inputs: Sequence[Input]
    start: int
    prefix: str
    truncate: bool | None


@dataclass(frozen=True)
class Running:
    """A slice on its way; `rows` is None when none of its texts has to be computed."""

    slice: Slice
    prepared: Prepared
    rows: Future[np.ndarray] | None


class Collector:
    """Puts the rows of finished slices together as the vectors that were asked for."""

    def __init__(self, request: EmbedRequest, loaded: LoadedModel) -> None:
        self._warnings = check_dimensions(request, loaded.spec.hidden, loaded.embedding)
        self._request = request
        width = request.dimensions or loaded.spec.hidden
        self._vectors = np.zeros((len(request.inputs), width), dtype=np.float32)
        self._num_tokens = 0
        self._truncated: list[int] = []

    def add(self, running: Running, rows: np.ndarray | None) -> int:
        """Returns how many texts of the request that were."""
        prepared, start = running.prepared, running.slice.start
        if rows is not None:
            places = [start + place for place in prepared.places]
            self._vectors[places] = finish_vectors(rows, self._vectors.shape[1], self._request.normalize)
        self._num_tokens += prepared.num_tokens
        self._truncated.extend(prepared.truncated)
        return len(running.slice.inputs)

    def result(self) -> EmbedResult:
        return EmbedResult(self._vectors, self._num_tokens, tuple(self._truncated), self._warnings)


def wait(running: Running) -> np.ndarray | None:
    return None if running.rows is None else running.rows.result()


async def wait_async(running: Running) -> np.ndarray | None:
    if running.rows is None:
        return None
    rows: np.ndarray = await asyncio.wrap_future(running.rows)
    return rows


def cancel(in_flight: Iterable[Running]) -> None:
    """Take what has not run out of the queue; nothing happens to what is done."""
    for running in in_flight:
        if running.rows is not None:
            running.rows.cancel()
