"""The slices of a request: on their way through the queue, and their rows put together again in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from farthing.core.deferred import dataclass
from farthing.serving.queue.batch import Job, JobRows
from farthing.serving.request import Timings, mean_timings
from farthing.serving.text.vocabulary import Unknown

if TYPE_CHECKING:
    from farthing.serving.text.prepare import Prepared, Slice


@dataclass(frozen=True)
class Running:
    """A slice on its way through the queue; `job` is None when none of its texts has to be computed."""

    slice: Slice
    prepared: Prepared
    job: Job | None
    tokenize_s: float


@dataclass(frozen=True)
class Done:
    """What is known of a slice whose rows are there; its tokens are not kept.

    Attributes:
        text_tokens: tokens of each input; 0 where nothing was computed.
        truncated: indices in the request of the inputs that were cut.
        unknown: words in the inputs that the model does not know.
        fingerprint: fingerprint of the weights that made the rows; None where nothing was computed.
    """

    slice: Slice
    text_tokens: Sequence[int]
    truncated: Sequence[int]
    unknown: Unknown
    fingerprint: str | None
    num_computed_tokens: int
    timings: Timings


class Collector:
    """Puts the rows of finished slices together.

    Attributes:
        rows: [inputs, width] float32; zeros where nothing was computed.
        fingerprint: fingerprint of the weights that made the latest rows.
    """

    def __init__(self, num_inputs: int, width: int) -> None:
        self.rows = np.zeros((num_inputs, width), dtype=np.float32)
        self._done: dict[int, Done] = {}  # by the start of the slice
        self.fingerprint: str | None = None

    @property
    def num_inputs(self) -> int:
        return len(self.rows)

    @property
    def num_tokens(self) -> int:
        return sum(sum(item.text_tokens) for item in self._done.values())

    @property
    def num_computed_tokens(self) -> int:
        return sum(item.num_computed_tokens for item in self._done.values())

    @property
    def text_tokens(self) -> tuple[int, ...]:
        """The number of tokens of each input; 0 where nothing was computed."""
        counts = [0] * len(self.rows)
        for start, item in self._done.items():
            counts[start : start + len(item.text_tokens)] = item.text_tokens
        return tuple(counts)

    @property
    def truncated(self) -> tuple[int, ...]:
        """The indices in the request of the inputs that were cut."""
        done = (self._done[start] for start in sorted(self._done))
        return tuple(index for item in done for index in item.truncated)

    @property
    def unknown(self) -> Unknown:
        """The words that the model does not know."""
        done = [self._done[start].unknown for start in sorted(self._done)]
        texts = tuple(index for item in done for index in item.texts)
        return Unknown(texts, sum(item.num_tokens for item in done))

    @property
    def timings(self) -> Timings:
        return mean_timings((len(item.slice.inputs), item.timings) for item in self._done.values())

    def finished(self, rows: np.ndarray) -> np.ndarray:
        """The model's rows [n, any] as they are to be kept: [n, width]."""
        return rows

    def add(self, running: Running, found: JobRows | None) -> int:
        """Add the rows of a slice, and return how many texts of the request were not there yet."""
        prepared, start = running.prepared, running.slice.start
        if found is not None:
            rows, places = self.finished(found.rows), [start + place for place in prepared.places]
            if len(places) == len(self.rows):
                self.rows = rows if rows.base is None else rows.copy()  # a view would keep the rows of a whole batch
            else:
                self.rows[places] = rows
            self.fingerprint = found.fingerprint
        is_new = start not in self._done
        fingerprint, num_computed = (found.fingerprint, found.num_computed_tokens) if found else (None, 0)
        times = (found.queue_s, found.compute_s) if found else (0.0, 0.0)
        timings = Timings(running.tokenize_s, *times)
        counts = [0] * len(running.slice.inputs)
        for place, ids in zip(prepared.places, prepared.texts, strict=True):
            counts[place] = len(ids)
        self._done[start] = Done(
            running.slice, counts, prepared.truncated, prepared.unknown, fingerprint, num_computed, timings
        )
        return len(running.slice.inputs) if is_new else 0

    def outdated(self) -> list[Slice]:
        """The slices whose rows were made by other weights than the latest rows."""
        return [done.slice for done in self._done.values() if done.fingerprint not in (None, self.fingerprint)]


def wait(running: Running) -> JobRows | None:
    return None if running.job is None else running.job.future.result()


async def wait_async(running: Running) -> JobRows | None:
    if running.job is None:
        return None
    import asyncio  # not before: in a process without an event loop it would only take time

    rows: JobRows = await asyncio.wrap_future(running.job.future)
    return rows


def cancel(in_flight: Iterable[Running]) -> None:
    """Take slices that have not run out of the queue; nothing happens to those that are done."""
    for running in in_flight:
        if running.job is not None:
            running.job.future.cancel()
