"""The served models: loaded in the background, watched, and given a bounded number of requests at once.

In: a directory of models, and requests to them. Out: answers, or typed errors. A separate thread loads the models
(`farthing.server.models.loader_thread`), so that the port answers at once. The service knows nothing of HTTP.

A request for a route (`auto` is one) is answered by the route's first model that can answer now. The answer names the
model, since the vectors of two models cannot be compared.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar, cast

from farthing.core.deferred import dataclass
from farthing.core.errors import ClosedError, QueueFullError, ServingError
from farthing.core.settings import ServingSettings
from farthing.server.models.answers import Answer, Scores, ServiceHealth, takes, wrong_task
from farthing.server.models.directory import Directory
from farthing.server.models.loader_thread import Keeper
from farthing.server.models.slot import ModelEntry

if TYPE_CHECKING:
    from farthing.models.forward.heads import Task
    from farthing.serving.backend import Backend, EmbedBackend, RerankBackend
    from farthing.serving.cache.store import CacheStats
    from farthing.serving.cache.vectors import VectorCache
    from farthing.serving.governor import MemoryState
    from farthing.serving.request import CheckedRequest, EmbedRequest, EmbedResult, RerankRequest

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_LOADING_S = 10.0  # after a failure
# How many requests for a vector of every token may be in work at once: their answers are large, and this bounds the
# memory that they hold.
PER_TOKEN_REQUESTS = 2
USUAL_CONTEXT = 8192


@dataclass(frozen=True)
class Chosen:
    """The models that may answer a request, best first."""

    slots: Sequence[ModelEntry]

    @property
    def context_length(self) -> int:
        """The tokens of the longest text that the first model takes, or a usual number while that is not known."""
        backend = self.slots[0].backend
        return USUAL_CONTEXT if backend is None else backend.context_length or USUAL_CONTEXT

    def num_numbers(self, request: EmbedRequest, max_token_vectors: int) -> int:
        """Return how many numbers the answer to `request` has at most; 0 while that is not known."""
        backend = cast("EmbedBackend | None", self.slots[0].backend)
        if backend is None:
            return 0
        full = backend.dimensions
        if request.per_token:
            return full * max_token_vectors
        return len(request.inputs) * min(full, request.dimensions or full)


@dataclass(frozen=True)
class Begun:
    """A request for vectors that its model has checked.

    Attributes:
        backend, checked: None while the model is not loaded.
        answer: the answer, where nothing has to be computed or waited for.
    """

    request: EmbedRequest
    chosen: Chosen
    backend: Backend | None = None
    checked: CheckedRequest | None = None
    answer: Answer | None = None


class Service:
    """The served models and the requests to them.

    Args:
        models: the models, by name.
        serving: bounds the requests in work, and says what a dead worker means.
        prepare: called in the background before the first model is loaded; raises when none can be loaded.
        read_cache: returns the cache of vectors for all models; None until it is opened, and where there is none.
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
        """Take no more requests and close the models. Returns False if that takes too long, or one still loads."""
        return self._keeper.close()

    @property
    def exit_status(self) -> int:
        """The exit status of the process, once the service has failed or was closed."""
        return self._keeper.exit_status

    # --- facts ---------------------------------------------------------------------------------------------------

    @property
    def default(self) -> ModelEntry:
        """The model that the server was started for, which is the first one."""
        return self.models.entries[0]

    def backend(self, task: Task) -> Backend | None:
        """Return the model that answers requests for the task that name none; None while it is not loaded."""
        entry = next(iter(self.models.find(None, task)), None)
        return entry.backend if self._keeper.is_ready and entry is not None else None

    @property
    def embedder(self) -> EmbedBackend | None:
        """The model that makes vectors when none is named; None where there is none, and while it is not loaded."""
        return cast("EmbedBackend | None", self.backend("embed"))

    @property
    def loaded(self) -> list[tuple[ModelEntry, Backend]]:
        """The models that are loaded now; none until the server is ready."""
        entries = self.models.entries if self._keeper.is_ready else ()
        return [(entry, backend) for entry in entries if (backend := entry.backend) is not None]

    def memory(self) -> MemoryState | None:
        """Return the step taken to save memory; None until all is loaded, and where nobody watches the memory."""
        return next((state for _, backend in self.loaded if (state := backend.memory()) is not None), None)

    def cache(self) -> CacheStats | None:
        """Return the counts of the cache, or None where nothing is kept."""
        cache = self._read_cache()
        return None if cache is None else cache.stats()

    async def disconnect(self) -> None:
        """Close the connections of the event loop, when the last request has been answered."""
        cache = self._read_cache()
        if cache is not None:
            await cache.close()

    def health(self) -> ServiceHealth:
        """Return whether requests that name no model can be answered now, and why not."""
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

    def choose(self, name: str | None, task: Task, request: EmbedRequest | None = None) -> Chosen:
        """Return the models that `name` stands for and that can answer now, at least one.

        For an embedding request these are only the models that can take it. Raises `UnknownModelError`,
        `WrongTaskError`, `ServingError` while no model is loaded or it failed to load, and `ClosedError` once the
        service is closed.
        """
        slots = self.models.find(name, task)
        self._check_ready()
        if not slots or slots[0].task != task:
            raise wrong_task((slots or self.models.entries)[0].name, task, self.models.names_for(task))
        return Chosen(self._able(slots, request) if len(slots) > 1 else slots)

    def _able(self, slots: Sequence[ModelEntry], request: EmbedRequest | None) -> Sequence[ModelEntry]:
        """Return those models of a route that can answer now, or the first of all if none can."""
        first, *others = slots
        for slot in slots:  # other models can answer while this one is loaded
            if slot.failure is not None:
                self._load_again(slot)
        able = [slot for slot in others if is_able(slot) and (request is None or takes(slot, request))]
        return [first, *able] if is_able(first) or not able else able

    def begin(self, request: EmbedRequest, chosen: Chosen) -> Begun:
        """Check the request by the first model of `chosen`, and answer it if a cache in this process holds all of it.

        Raises as `EmbedBackend.check`.
        """
        slot = chosen.slots[0]
        with slot.used() as backend:
            if backend is None:
                return Begun(request, chosen)
            checked = cast("EmbedBackend", backend).check(request)
        answer = None if checked.result is None else self._answer(checked.result, slot)
        return Begun(request, chosen, backend, checked, answer)

    async def finish(self, begun: Begun) -> Answer:
        """Return the vectors of a request when its turn has come. Cancelling takes its texts out of the queue.

        Raises what the backend raises, `ServingError` while the model is loading or has failed to load, and
        `ClosedError` once the service is closed.
        """

        async def work(slot: ModelEntry, backend: Backend) -> Answer:
            embedder, checked = cast("EmbedBackend", backend), begun.checked
            if checked is None or backend is not begun.backend:
                checked = embedder.check(begun.request)
            return self._answer(checked.result or await embedder.compute(checked), slot)

        async with self._per_token_turns if begun.request.per_token else self._turns:
            return await self._first_answer(begun.chosen, work)

    async def embed(self, request: EmbedRequest, model: str | None = None) -> Answer:
        """Return the vectors of `request`. Raises as `choose`, `begin` and `finish`."""
        begun = self.begin(request, self.choose(model, "embed", request))
        return begun.answer or await self.finish(begun)

    async def in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns; it counts as one of the requests in work."""
        async with self._turns:
            return await work()

    async def backend_for(self, model: str | None, task: Task) -> tuple[str, Backend]:
        """Return the name and the backend of the model that answers for `model`, once it is loaded.

        Only the backend's facts may be used, since it may be unloaded again. Raises as `embed`.
        """

        async def work(slot: ModelEntry, backend: Backend) -> tuple[str, Backend]:
            return slot.name, backend

        return await self._first_answer(self.choose(model, task), work)

    async def rerank(self, request: RerankRequest, model: str | None = None) -> Scores:
        """Return the scores of the request's pairs. Raises as `choose` and `score`."""
        return await self.score(request, self.choose(model, "rerank"))

    async def score(self, request: RerankRequest, chosen: Chosen) -> Scores:
        """Return the scores of the request's pairs when its turn has come. Cancelling takes its pairs out of the queue.

        Raises as `finish`.
        """

        async def work(slot: ModelEntry, backend: Backend) -> Scores:
            return Scores(await cast("RerankBackend", backend).rerank_async(request), slot.name)

        async with self._turns:
            return await self._first_answer(chosen, work)

    def _answer(self, result: EmbedResult, slot: ModelEntry) -> Answer:
        memory = self.memory()
        return Answer(result, slot.name, memory.name if memory is not None and memory.step else "")

    async def _first_answer(self, chosen: Chosen, work: Callable[[ModelEntry, Backend], Awaitable[T]]) -> T:
        """Return what `work` makes of the first model that is not broken, once that model is loaded."""
        for slot in chosen.slots:
            try:
                while True:
                    with slot.used() as backend:
                        if backend is not None:
                            return await work(slot, backend)
                    self._check_ready()
                    await self._wait_until_loaded(slot)
            except (QueueFullError, ClosedError):
                raise
            except ServingError as error:
                if slot is chosen.slots[-1]:
                    raise
                logger.warning("%s cannot answer, the next of its route is asked: %s", slot.name, error)
        raise AssertionError("a request has at least one model")

    async def _wait_until_loaded(self, entry: ModelEntry) -> None:
        done = self._load_again(entry)
        if done is not None:
            await asyncio.shield(asyncio.wrap_future(done))  # others wait for this future too
        if entry.failure is not None:
            raise ServingError(f"The model {entry.name} could not be loaded: {entry.reason}")

    def _load_again(self, entry: ModelEntry) -> Future[None] | None:
        """Have a model loaded, and return a future that is done when it was; None if it failed only a moment ago."""
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
    """Return whether a model of a route can answer now: it is loaded or can be, works, and has enough memory."""
    backend = entry.backend
    if backend is None:
        return entry.failure is None
    memory = backend.memory()
    return backend.health().ready and (memory is None or not (memory.answers_by_fallback or memory.refuses))
