"""The served models: loaded in the background, watched, and given a bounded number of requests at once.

In: a directory of models, and requests to them. Out: answers, or typed errors. Models are loaded by a thread of their
own (`farthing.server.models.loader_thread`), so that the port answers at once. The service knows nothing of HTTP.

Requests for a route (`auto` is one) are answered by its first model that can answer now; the answer names it, since the
vectors of two models cannot be compared.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar, cast

from farthing.core.errors import ClosedError, QueueFullError, ServingError
from farthing.core.settings import ServingSettings
from farthing.server.models.answers import Answer, Scores, ServiceHealth, can_answer, wrong_task
from farthing.server.models.directory import Directory
from farthing.server.models.loader_thread import Keeper
from farthing.server.models.slot import ModelEntry

if TYPE_CHECKING:
    from farthing.models.heads import Task
    from farthing.serving.backend import Backend, EmbedBackend, RerankBackend
    from farthing.serving.cache.store import CacheStats
    from farthing.serving.cache.vectors import VectorCache
    from farthing.serving.governor import MemoryState
    from farthing.serving.request import EmbedRequest, EmbedResult, RerankRequest

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_LOADING_S = 10.0  # after a failure
# Requests for a vector of every token in work at once: their answers are large, and this bounds what they hold.
PER_TOKEN_REQUESTS = 2
USUAL_CONTEXT = 8192


class Service:
    """
    Args:
        models: which there are, by name.
        serving: bounds the requests in work and says what a dead worker means.
        prepare: called in the background before the first model is loaded; raises when none can be.
        read_cache: gives what keeps vectors for all models, None until it is opened and where there is none.
    """

    def __init__(
        self,
        models: Directory,
        serving: ServingSettings,
        *,
        prepare: Callable[[], None] = lambda: None,
        read_cache: Callable[[], VectorCache | None] = lambda: None,
    ) -> None:
        self.models = models
        self.request_timeout_s = serving.request_timeout_s
        self.max_token_vectors, self.max_listed_tokens = serving.max_token_vectors, serving.max_listed_tokens
        self._read_cache = read_cache
        self._keeper = Keeper(models.entries, prepare, exits_on_death=serving.on_worker_death == "exit")
        self._turns = asyncio.Semaphore(serving.max_running_requests)
        self._per_token_turns = asyncio.Semaphore(PER_TOKEN_REQUESTS)

    def start(self, on_ready: Callable[[], None] = lambda: None, on_failure: Callable[[], None] = lambda: None) -> None:
        """Begin loading. Both functions are called in the background thread; `exit_status` is set by then."""
        self._keeper.start(on_ready, on_failure)

    def close(self) -> bool:
        """Take no more requests and close the models. False when it does not end in time, or is still loading."""
        return self._keeper.close()

    @property
    def exit_status(self) -> int:
        """Of the process, once the service has failed or was closed."""
        return self._keeper.exit_status

    # --- facts ---------------------------------------------------------------------------------------------------

    @property
    def default(self) -> ModelEntry:
        """The model that the server was started for, the first one."""
        return self.models.entries[0]

    def backend(self, task: Task) -> Backend | None:
        """Of the model that answers requests for the task that name none; None while it is not loaded."""
        entry = next(self.models.candidates(None, task), None)
        return entry.backend if self._keeper.is_ready and entry is not None else None

    @property
    def embedder(self) -> EmbedBackend | None:
        """The model that makes vectors when none is named; None where there is none, and while it is not loaded."""
        return cast("EmbedBackend | None", self.backend("embed"))

    @property
    def loaded(self) -> list[tuple[ModelEntry, Backend]]:
        """Models that are loaded now; none until the server is ready."""
        entries = self.models.entries if self._keeper.is_ready else ()
        return [(entry, backend) for entry in entries if (backend := entry.backend) is not None]

    def memory(self) -> MemoryState | None:
        """Which step to save memory is taken; None until all is loaded, and where nobody watches it."""
        return next((state for _, backend in self.loaded if (state := backend.memory()) is not None), None)

    def cache(self) -> CacheStats | None:
        """None where nothing is kept."""
        cache = self._read_cache()
        return None if cache is None else cache.stats()

    async def disconnect(self) -> None:
        """Leave what the event loop is connected to; when the last request is answered."""
        cache = self._read_cache()
        if cache is not None:
            await cache.close()

    def health(self) -> ServiceHealth:
        """Whether requests that name no model can be answered now, and why not."""
        if self._keeper.is_closing:
            return ServiceHealth("closed", "The server is shutting down.")
        if self._keeper.failure:
            return ServiceHealth("unhealthy", self._keeper.failure)
        if not self._keeper.is_ready:
            return ServiceHealth(
                "loading", f"The model {self.default.name} is still being loaded; try again in a moment."
            )
        broken = self._keeper.broken()
        if broken:
            return ServiceHealth("unhealthy", broken)
        memory = self.memory()
        if memory is not None and memory.refuses:
            return ServiceHealth("overloaded", "Memory is short; no new work is taken until there is room.")
        return ServiceHealth("ready")

    # --- work ----------------------------------------------------------------------------------------------------

    def num_numbers(self, request: EmbedRequest, model: str | None = None) -> int:
        """How many numbers the answer to `request` has, at most; 0 while that is not known."""
        backend = self._expected(model, "embed")
        if backend is None or backend.task != "embed":
            return 0
        full = cast("EmbedBackend", backend).dimensions
        if request.per_token:
            return full * self.max_token_vectors
        return len(request.inputs) * min(full, request.dimensions or full)

    def context_length(self, model: str | None, task: Task) -> int:
        """Tokens of the longest text that the model of that name takes, or of a usual one while that is not known."""
        backend = self._expected(model, task)
        return USUAL_CONTEXT if backend is None else backend.context_length or USUAL_CONTEXT

    def _expected(self, model: str | None, task: Task) -> Backend | None:
        """What is asked first for that name; None where there is none, or none yet."""
        entry = next(iter(self.models.candidates(model, task)), None) if self.models.knows(model) else None
        return None if entry is None else entry.backend

    def held(self, request: EmbedRequest, model: str | None = None) -> Answer | None:
        """What `embed` would answer, where a cache holds it and nothing has to be waited for. Raises as `embed`."""
        entry, *_ = self._able(model, "embed", lambda backend: can_answer(cast("EmbedBackend", backend), request))
        with entry.used() as backend:
            found = None if backend is None else cast("EmbedBackend", backend).held(request)
        return None if found is None else self._answer(found, entry)

    async def embed(self, request: EmbedRequest, model: str | None = None) -> Answer:
        """The vectors of `request`, when its turn comes. Cancelling takes its texts out of the queue.

        Raises what the backend raises, `UnknownModelError`, `WrongTaskError`, `ServingError` while the model is loading
        or has failed to load, and `ClosedError` once the service is closed.
        """

        async def work(entry: ModelEntry, backend: Backend) -> Answer:
            return self._answer(await cast("EmbedBackend", backend).embed_async(request), entry)

        async with self._per_token_turns if request.per_token else self._turns:
            entries = self._able(model, "embed", lambda backend: can_answer(cast("EmbedBackend", backend), request))
            return await self._first_answer(entries, work)

    async def in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives, which counts as one of the requests in work."""
        async with self._turns:
            return await work()

    async def backend_for(self, model: str | None, task: Task) -> tuple[str, Backend]:
        """The name and the backend of the model that answers for this one, once it is loaded; for what it says of
        itself, since it may be unloaded again. Raises as `embed`."""

        async def work(entry: ModelEntry, backend: Backend) -> tuple[str, Backend]:
            return entry.name, backend

        return await self._first_answer(self._able(model, task, lambda _: True), work)

    async def rerank(self, request: RerankRequest, model: str | None = None) -> Scores:
        """Scores of the request's pairs, when its turn comes. Cancelling takes its pairs out of the queue.

        Raises as `embed`.
        """

        async def work(entry: ModelEntry, backend: Backend) -> Scores:
            return Scores(await cast("RerankBackend", backend).rerank_async(request), entry.name)

        async with self._turns:
            return await self._first_answer(self._able(model, "rerank", lambda _: True), work)

    def _answer(self, result: EmbedResult, entry: ModelEntry) -> Answer:
        memory = self.memory()
        return Answer(result, entry.name, memory.name if memory is not None and memory.step else "")

    def _able(self, name: str | None, task: Task, can_take: Callable[[Backend], bool]) -> list[ModelEntry]:
        """The models that the name stands for and that can answer now; at least the first of them."""
        self.models.check(name)
        self._check_ready()
        entries = list(self.models.candidates(name, task))
        if not entries or entries[0].task != task:
            raise wrong_task((entries or self.models.entries)[0].name, task, self.models.names_for(task))
        first, *others = entries
        if not others:
            return entries
        for entry in entries:  # of which others can answer meanwhile
            if entry.failure is not None:
                self._load_again(entry)
        able = [entry for entry in others if is_able(entry) and (entry.backend is None or can_take(entry.backend))]
        return [first, *able] if is_able(first) or not able else able

    async def _first_answer(
        self, entries: Sequence[ModelEntry], work: Callable[[ModelEntry, Backend], Awaitable[T]]
    ) -> T:
        """What `work` makes of the first model that does not turn out to be broken."""
        *others, last = entries
        for entry in others:
            try:
                return await self._with_backend(entry, work)
            except (QueueFullError, ClosedError):
                raise
            except ServingError as error:
                logger.warning("%s cannot answer, the next of its route is asked: %s", entry.name, error)
        return await self._with_backend(last, work)

    async def _with_backend(self, entry: ModelEntry, work: Callable[[ModelEntry, Backend], Awaitable[T]]) -> T:
        """What `work` makes of a model, once it is loaded."""
        while True:
            with entry.used() as backend:
                if backend is not None:
                    return await work(entry, backend)
            self._check_ready()
            await self._wait_until_loaded(entry)

    async def _wait_until_loaded(self, entry: ModelEntry) -> None:
        done = self._load_again(entry)
        if done is not None:
            await asyncio.shield(asyncio.wrap_future(done))  # others wait for it too
        if entry.failure is not None:
            raise ServingError(f"The model {entry.name} could not be loaded: {entry.reason}")

    def _load_again(self, entry: ModelEntry) -> Future[None] | None:
        """Have a model loaded, and return what is done when it was; None so soon after it failed."""
        if entry.failed_since_s(time.monotonic()) <= RETRY_LOADING_S:
            return None
        done, is_first = entry.wanted()
        if is_first:
            self._keeper.order(entry)
        return done

    def _check_ready(self) -> None:
        if not self._keeper.is_ready or self._keeper.is_closing:
            kind = ClosedError if self._keeper.is_closing else ServingError
            raise kind(self.health().reason)


def is_able(entry: ModelEntry) -> bool:
    """Whether a model of a route answers now: it is loaded or can be, works, and memory is not too short for it."""
    backend = entry.backend
    if backend is None:
        return entry.failure is None
    memory = backend.memory()
    return backend.health().ready and (memory is None or not (memory.answers_by_fallback or memory.refuses))
