"""A model on other servers: what `UpstreamEmbedder` and `UpstreamReranker` have in common.

In: URLs and settings. Out: a pool of upstreams that compute the same model, counters, facts. The model is made in a
thread that may block, until the first upstream is ready. Then it may be asked from any event loop, and works on a loop
of its own (`farthing.upstream.loop`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from farthing.core.errors import ClosedError, NoUpstreamError
from farthing.core.settings import ServingSettings, UpstreamSettings
from farthing.serving.stats import Health, QueueStats, ServingStats, StatsCounter
from farthing.upstream.answer import AttemptFailedError
from farthing.upstream.client import UpstreamClient, http_client, parse_url
from farthing.upstream.loop import LoopThread
from farthing.upstream.pool import Call, Pool, UpstreamState

T = TypeVar("T")
Own = TypeVar("Own", bound="UpstreamModel")

CHUNKS_AT_ONCE = 8  # of one request, so that a large request leaves turns to others
READY_POLL_S = 0.2
FINISH_S = 5.0  # for what was accepted, when the model is closed


class Starts(Protocol):
    """Something that started an upstream, and ends it with us."""

    @property
    def failure(self) -> str:
        """Why the upstream will not be ready; empty while it may yet be."""
        ...

    def facts(self) -> dict[str, str]: ...

    def expect_restarts(self) -> None:
        """Note that the upstream was ready once: from now on it is started again whenever it dies."""
        ...

    def close(self) -> None: ...


class UpstreamModel:
    """
    Args:
        model: what clients call the model.
        urls: URLs of its upstreams.
        context_length: most tokens of one text; None for what the first upstream says.
        starter: what started the upstream, where we did.

    Raises:
        NoUpstreamError: no upstream was ready within `upstream_start_s`.
        SettingsError: one of the URLs is not a URL.
    """

    task: ClassVar[Literal["embed", "rerank"]]

    def __init__(
        self,
        model: str,
        urls: Sequence[str],
        settings: UpstreamSettings,
        serving: ServingSettings,
        *,
        context_length: int | None = None,
        starter: Starts | None = None,
    ) -> None:
        self.model = model
        self.upstream_model = settings.upstream_model or model
        self._settings, self._serving, self._starter = settings, serving, starter
        self._stats = StatsCounter()
        self._num_waiting_texts = 0
        self._context_length = context_length
        self._closed = False
        self._running: set[asyncio.Task[Any]] = set()
        self._loop = LoopThread("farthing-upstream")
        try:
            self._loop.run(self._open(urls))
            self._wait_ready(settings.upstream_start_s)
        except BaseException:
            self.close()
            raise

    async def _open(self, urls: Sequence[str]) -> None:
        for url in urls:
            parse_url(url)  # before anything is opened
        self._http = http_client(self._settings.upstream_api_key)
        self._clients = [UpstreamClient(url, self._http, self._settings.upstream_timeout_s) for url in urls]
        self._pool = Pool(self._clients, self._admit, self._settings.upstream_max_running)
        self._pool.start()

    def _wait_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._loop.run(self._pool.wait_usable(READY_POLL_S)):
            if self._starter is not None and self._starter.failure:
                raise NoUpstreamError(self._starter.failure)
            if time.monotonic() > deadline:
                reasons = "; ".join(f"{state.url} {state.reason}" for state in self.upstreams())
                raise NoUpstreamError(
                    f"No upstream was ready within {timeout_s:g} s (upstream_start_s): {reasons}. Check the URL and "
                    "whether the server runs."
                )
        if self._starter is not None:
            self._starter.expect_restarts()

    async def _admit(self, client: UpstreamClient) -> None:
        """Raise `AttemptFailedError` unless `client` computes the model as the others do."""
        raise NotImplementedError

    # --- facts ---------------------------------------------------------------------------------------------------

    @property
    def local(self) -> None:
        """None: the model runs elsewhere (`farthing.serving.backend.Backend`)."""

    @property
    def context_length(self) -> int:
        """The most tokens of one text, or 0 where they are not known here. It is the upstream that refuses texts."""
        return self._context_length or 0

    def facts(self) -> dict[str, str]:
        """Where the model is computed, in words, for start-up output."""
        facts = {"upstreams": ", ".join(state.url for state in self.upstreams()), "called": self.upstream_model}
        return facts | ({} if self._starter is None else self._starter.facts())

    def upstreams(self) -> tuple[UpstreamState, ...]:
        """The state of each upstream now."""
        return self._pool.states()

    def health(self) -> Health:
        if self._pool.is_usable:
            return Health(True)
        return Health(False, "No server that computes the model can be used; the log says why.")

    def memory(self) -> None:
        """None: nobody watches the memory of other servers."""
        return

    def stats(self) -> ServingStats:
        """The counters. Batches are requests to upstreams."""
        return self._stats.snapshot(QueueStats(waiting_texts=self._num_waiting_texts))

    # --- work ----------------------------------------------------------------------------------------------------

    async def _on_own_loop(self, work: Coroutine[Any, Any, T], num_texts: int) -> T:
        if self._closed:
            work.close()
            raise ClosedError("The server is shutting down.")
        self._num_waiting_texts += num_texts
        try:
            return await asyncio.wrap_future(self._loop.submit(self._tracked(work)))
        finally:
            self._num_waiting_texts -= num_texts

    async def _tracked(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            return await work
        finally:
            self._running.discard(task)

    async def _call(self, call: Call[T], weight: int, num_texts: int) -> T:
        """Send one request to whichever upstream answers it. Raises as `Pool.run`."""

        async def counted(client: UpstreamClient) -> T:
            started = time.monotonic()
            try:
                return await call(client)
            except AttemptFailedError:
                self._stats.add(failed_batches_total=1)
                raise
            finally:
                self._stats.add(batches_total=1, batch_seconds_total=time.monotonic() - started)

        result = await self._pool.run(counted, weight)
        self._stats.add(texts_total=num_texts)
        return result

    # --- end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Finish what was accepted, then refuse work, and end what we started. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._loop.run(self._finish())
            self._loop.close()
            if self._starter is not None:
                self._starter.close()

    async def _finish(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=FINISH_S)
        if hasattr(self, "_pool"):
            await self._pool.close()
            await self._http.aclose()

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def gather_bounded(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of `works` in order, with `CHUNKS_AT_ONCE` running at a time.

    When one raises, or this is cancelled, the others are cancelled too.
    """
    turns = asyncio.Semaphore(CHUNKS_AT_ONCE)

    async def in_turn(work: Coroutine[Any, Any, T]) -> T:
        async with turns:
            return await work

    tasks = [asyncio.create_task(in_turn(work)) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for work in works:
            work.close()  # for those that were cancelled before their turn
