"""A request on its way through the queue: cut into slices, each tokenised while earlier ones are computed.

In: a request, texts or pairs of texts, and its empty `Collector`. Out: the collector, filled. Sync and async callers
differ only in who waits for the futures. Should the weights change while a request is under way, what the old ones made
is computed again: one request, one vector space.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, Protocol

from tqdm import tqdm

from farthing.serving.job import Job
from farthing.serving.prepare import Prepared
from farthing.serving.request import TextEnd
from farthing.serving.scheduler import Scheduler
from farthing.serving.slices import Collector, Running, Slice, cancel, wait, wait_async

# Texts that are tokenised and queued together: enough to fill a batch of short ones.
SLICE_TEXTS = 256
# Slices of one call that wait or run at the same time: bounds memory, keeps the device busy.
SLICES_IN_FLIGHT = 4


class Request(Protocol):
    @property
    def inputs(self) -> Sequence[Any]:
        """Texts, or pairs of texts, as the preparer takes them."""
        ...

    @property
    def truncate(self) -> bool | None: ...

    @property
    def truncate_from(self) -> TextEnd: ...


class Prepares(Protocol):
    def prepare(
        self, inputs: Sequence[Any], start: int, prefix: str, truncate: bool | None, truncate_from: TextEnd
    ) -> Prepared:
        """`inputs` are a request's from index `start` on. Raises `InputError`."""
        ...


class Pipeline:
    """`pool` tokenises for async callers; sync ones do it on their own thread."""

    def __init__(self, preparer: Prepares, scheduler: Scheduler, pool: ThreadPoolExecutor) -> None:
        self._preparer = preparer
        self._scheduler, self._pool = scheduler, pool

    def run(self, request: Request, prefix: str, collector: Collector, *, show_progress: bool = False) -> None:
        """`prefix` goes to the preparer as it is.

        Raises `InputError` for what cannot be served as it is, `EngineError`, `ServingError`.
        """
        with tqdm(total=len(request.inputs), unit="text", disable=not show_progress) as bar:
            slices: Iterable[Slice] = self._slices(request, prefix)
            while slices:
                self._run(slices, collector, bar)
                slices = collector.outdated()

    async def run_async(self, request: Request, prefix: str, collector: Collector) -> None:
        """As `run`. Cancelling takes the request's texts out of the queue."""
        slices: Iterable[Slice] = self._slices(request, prefix)
        while slices:
            await self._run_async(slices, collector)
            slices = collector.outdated()

    def _run(self, slices: Iterable[Slice], collector: Collector, bar: tqdm[NoReturn]) -> None:
        in_flight: deque[Running] = deque()
        try:
            for item in slices:
                in_flight.append(self._submit(self._prepare(item)))
                if len(in_flight) >= SLICES_IN_FLIGHT:
                    bar.update(collector.add(in_flight[0], wait(in_flight.popleft())))
            while in_flight:
                bar.update(collector.add(in_flight[0], wait(in_flight.popleft())))
        finally:
            cancel(in_flight)

    async def _run_async(self, slices: Iterable[Slice], collector: Collector) -> None:
        in_flight: deque[Running] = deque()
        loop = asyncio.get_running_loop()
        try:
            for item in slices:
                running = await loop.run_in_executor(self._pool, self._prepare, item)
                in_flight.append(self._submit(running))
                if len(in_flight) >= SLICES_IN_FLIGHT:
                    collector.add(in_flight[0], await wait_async(in_flight[0]))
                    in_flight.popleft()
            while in_flight:
                collector.add(in_flight[0], await wait_async(in_flight[0]))
                in_flight.popleft()
        finally:
            cancel(in_flight)

    def _slices(self, request: Request, prefix: str) -> Iterator[Slice]:
        for start in range(0, len(request.inputs), SLICE_TEXTS):
            inputs = request.inputs[start : start + SLICE_TEXTS]
            yield Slice(inputs, start, prefix, request.truncate, request.truncate_from)

    def _prepare(self, item: Slice) -> Running:
        started = time.perf_counter()
        prepared = self._preparer.prepare(item.inputs, item.start, item.prefix, item.truncate, item.truncate_from)
        job = Job(prepared.texts) if prepared.texts else None
        return Running(item, prepared, job, time.perf_counter() - started)

    def _submit(self, running: Running) -> Running:
        if running.job is not None:
            self._scheduler.submit(running.job)
        return running
