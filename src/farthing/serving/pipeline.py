"""A request on its way through the queue: cut into slices, each tokenised while earlier ones are computed.

In: a request of texts or pairs of texts, and its empty `Collector`. Out: the collector, filled. Sync and async callers
differ only in who waits for the futures. If the weights change while a request is under way, the rows that the old
weights made are computed again, so that all vectors of a request are of one space.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from farthing.core.errors import InputError
from farthing.core.progress import Bar, progress_bar
from farthing.serving.collector import Collector, Running, cancel, wait, wait_async
from farthing.serving.queue.batch import Batch, Job
from farthing.serving.queue.estimates import SLICE_CHARS, SLICE_TEXTS, SMALL_CHARS, Size, count_chars
from farthing.serving.queue.lane import HELD_TEXTS, Flow
from farthing.serving.queue.scheduler import Scheduler
from farthing.serving.request import TextEnd, Urgency
from farthing.serving.text.pools import HUGE_CHARS, INLINE_CHARS, TokenizerPools
from farthing.serving.text.prepare import Prepared, Slice

# Slices of one call that wait or run at the same time. The number bounds memory and keeps the device busy.
SLICES_IN_FLIGHT = HELD_TEXTS // SLICE_TEXTS


class Request(Protocol):
    @property
    def inputs(self) -> Sequence[Any]:
        """Texts, or pairs of texts, as the preparer takes them."""
        ...

    @property
    def truncate(self) -> bool | None: ...

    @property
    def truncate_from(self) -> TextEnd: ...

    @property
    def urgency(self) -> Urgency: ...


class Prepares(Protocol):
    def prepare(self, part: Slice) -> Prepared:
        """Make a slice ready for the queue. Raises `InputError`."""
        ...


class Pipeline:
    """Takes requests through the queue. `pools` tokenise for async callers; sync callers do it on their own thread.

    `context_length` is the most tokens that a text is computed with. With `per_token` the rows are those of all tokens.
    `run_here` runs a batch on the thread of a sync caller; without it, none does.
    """

    def __init__(
        self,
        preparer: Prepares,
        scheduler: Scheduler,
        pools: TokenizerPools,
        context_length: int,
        *,
        per_token: bool = False,
        run_here: Callable[[Batch], None] | None = None,
    ) -> None:
        self._run_here = run_here
        self._preparer, self._context_length, self._per_token = preparer, context_length, per_token
        self._scheduler, self._pools = scheduler, pools

    def run(
        self,
        request: Request,
        prefix: str,
        collector: Collector,
        *,
        limited: bool = False,
        show_progress: bool = False,
    ) -> None:
        """Fill the collector. `prefix` goes to the preparer as it is. The queue's limits apply when `limited`.

        Raises `InputError` for what cannot be served as it is, `EngineError`, `ServingError`.
        """
        bar = progress_bar(len(request.inputs), shown=show_progress, unit="text")
        size = Size.of(request.inputs, prefix, self._context_length)
        with bar, self._scheduler.open(request.urgency, size, limited=limited) as flow:
            slices: Iterable[Slice] = self._slices(request, prefix)
            while slices:
                self._run(slices, collector, flow, bar)
                slices = collector.outdated()

    async def run_async(
        self, request: Request, prefix: str, collector: Collector, *, limited: bool = False, is_clean: bool = False
    ) -> None:
        """As `run`. Cancelling takes the request's texts out of the queue.

        `is_clean` says that the request's inputs have been through `clean_input` already.
        """
        size = await self._size(request, prefix)
        with self._scheduler.open(request.urgency, size, limited=limited) as flow:
            slices: Iterable[Slice] = self._slices(request, prefix, is_clean)
            while slices:
                await self._run_async(slices, collector, flow)
                slices = collector.outdated()

    async def _size(self, request: Request, prefix: str) -> Size:
        inputs, context_length = request.inputs, self._context_length
        num_chars = len(prefix) + sum(map(count_chars, inputs))
        if num_chars <= SMALL_CHARS:
            return Size.of(inputs, prefix, context_length)
        import asyncio

        pool = self._pools.pool(request.urgency.lane, 0, 0)  # a look at each text is short work
        return await asyncio.get_running_loop().run_in_executor(pool, Size.of, inputs, prefix, context_length)

    def _run(self, slices: Iterable[Slice], collector: Collector, flow: Flow, bar: Bar) -> None:
        in_flight: deque[Running] = deque()
        try:
            for item in slices:
                # A request of one short slice: nothing else is done meanwhile.
                is_alone = len(item.inputs) == collector.num_inputs and item.num_chars <= INLINE_CHARS
                in_flight.append(self._submit(self._prepare(item), flow, may_run=is_alone))
                if len(in_flight) >= SLICES_IN_FLIGHT:
                    bar.update(collector.add(in_flight[0], wait(in_flight.popleft())))
            while in_flight:
                bar.update(collector.add(in_flight[0], wait(in_flight.popleft())))
        finally:
            cancel(in_flight)

    async def _run_async(self, slices: Iterable[Slice], collector: Collector, flow: Flow) -> None:
        import asyncio

        in_flight: deque[Running] = deque()
        loop, lane = asyncio.get_running_loop(), flow.urgency.lane
        try:
            for item in slices:
                if item.num_chars <= INLINE_CHARS:
                    running = self._prepare(item)
                else:
                    pool = self._pools.pool(lane, item.num_chars, item.longest_chars)
                    running = await loop.run_in_executor(pool, self._prepare, item)
                in_flight.append(self._submit(running, flow))
                if len(in_flight) >= SLICES_IN_FLIGHT:
                    collector.add(in_flight[0], await wait_async(in_flight[0]))
                    in_flight.popleft()
            while in_flight:
                collector.add(in_flight[0], await wait_async(in_flight[0]))
                in_flight.popleft()
        finally:
            cancel(in_flight)

    def _slices(self, request: Request, prefix: str, is_clean: bool = False) -> Iterator[Slice]:
        start = num_chars = 0
        for stop, item in enumerate(request.inputs):
            more_chars = len(prefix) + count_chars(item)
            if stop - start >= SLICE_TEXTS or (stop > start and num_chars + more_chars > SLICE_CHARS):
                yield self._slice(request, prefix, is_clean, start, stop, num_chars)
                start, num_chars = stop, 0
            num_chars += more_chars
        if start < len(request.inputs):
            yield self._slice(request, prefix, is_clean, start, len(request.inputs), num_chars)

    def _slice(self, request: Request, prefix: str, is_clean: bool, start: int, stop: int, num_chars: int) -> Slice:
        inputs = request.inputs[start:stop]
        longest = len(prefix) + max(map(count_chars, inputs)) if num_chars > HUGE_CHARS else num_chars
        return Slice(inputs, start, prefix, request.truncate, request.truncate_from, is_clean, num_chars, longest)

    def _prepare(self, item: Slice) -> Running:
        started = time.perf_counter()
        try:
            prepared = self._preparer.prepare(item)
        except InputError as error:
            # The frames that the error has passed through hold millions of tokens where texts are too long. They would
            # stay until the garbage collector finds the error, which futures and tasks hold in circles. They are
            # cleared only here, where all of them have ended: clearing the frame of a coroutine that waits would close
            # it.
            traceback.clear_frames(error.__traceback__)
            raise
        job = Job(prepared.texts, per_token=self._per_token) if prepared.texts else None
        return Running(item, prepared, job, time.perf_counter() - started)

    def _submit(self, running: Running, flow: Flow, *, may_run: bool = False) -> Running:
        may_run = may_run and self._run_here is not None
        batch = self._scheduler.submit(running.job, flow, len(running.slice.inputs), may_run=may_run)
        if batch is not None:
            assert self._run_here is not None
            self._run_here(batch)
        return running
