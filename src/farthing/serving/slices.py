"""A request in slices: on the way through the queue, and put together again as the vectors that were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from farthing.core.space import VectorSpace
from farthing.engine.describe import ModelDescription
from farthing.serving.job import Job, Rows
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
    """A slice on its way; `job` is None when none of its texts has to be computed."""

    slice: Slice
    prepared: Prepared
    job: Job | None


@dataclass(frozen=True)
class Done:
    """What is known of a slice whose vectors are there; no fingerprint where nothing was computed."""

    slice: Slice
    prepared: Prepared
    fingerprint: str | None
    num_computed_tokens: int


class Collector:
    """Puts the rows of finished slices together as the vectors that were asked for."""

    def __init__(self, request: EmbedRequest, description: ModelDescription) -> None:
        hidden = description.spec.hidden
        self._warnings = check_dimensions(request, hidden, description.embedding)
        self._request = request
        self._vectors = np.zeros((len(request.inputs), request.dimensions or hidden), dtype=np.float32)
        self._done: dict[int, Done] = {}  # by the start of the slice
        self.fingerprint: str | None = None  # of the weights that made the latest rows

    def add(self, running: Running, found: Rows | None) -> int:
        """Returns how many texts of the request were not there yet."""
        prepared, start = running.prepared, running.slice.start
        if found is not None:
            places = [start + place for place in prepared.places]
            self._vectors[places] = finish_vectors(found.rows, self._vectors.shape[1], self._request.normalize)
            self.fingerprint = found.fingerprint
        is_new = start not in self._done
        fingerprint, num_computed = (found.fingerprint, found.num_computed_tokens) if found else (None, 0)
        self._done[start] = Done(running.slice, prepared, fingerprint, num_computed)
        return len(running.slice.inputs) if is_new else 0

    def outdated(self) -> list[Slice]:
        """Slices whose vectors are of other weights than the latest ones."""
        return [done.slice for done in self._done.values() if done.fingerprint not in (None, self.fingerprint)]

    def result(self, space: VectorSpace) -> EmbedResult:
        done = [self._done[start] for start in sorted(self._done)]
        truncated = tuple(index for item in done for index in item.prepared.truncated)
        num_tokens = sum(item.prepared.num_tokens for item in done)
        num_computed = sum(item.num_computed_tokens for item in done)
        return EmbedResult(self._vectors, num_tokens, num_computed, space, truncated, self._warnings)


def wait(running: Running) -> Rows | None:
    return None if running.job is None else running.job.future.result()


async def wait_async(running: Running) -> Rows | None:
    if running.job is None:
        return None
    rows: Rows = await asyncio.wrap_future(running.job.future)
    return rows


def cancel(in_flight: Iterable[Running]) -> None:
    """Take what has not run out of the queue; nothing happens to what is done."""
    for running in in_flight:
        if running.job is not None:
            running.job.future.cancel()
