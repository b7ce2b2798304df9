"""The served model: loaded in the background, watched, named, and given a bounded number of requests at once.

In: a function that loads the `Embedder`, and `EmbedRequest`s. Out: `Answer`s, or typed errors. One background
thread loads the model, so that the port answers at once, and then watches it. The service does not stop the process:
it reports a failure with an exit status, and `farthing.server.run` acts on it. It knows nothing of HTTP.

Requests for the model `auto` are answered by the served model, or while memory is very short by a small one, if there
is one; the answer names it, since its vectors cannot be compared with the other's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from farthing.core.errors import ClosedError, FarthingError, ServingError, UnknownModelError
from farthing.core.settings import ServingSettings

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder
    from farthing.serving.request import EmbedRequest, EmbedResult

logger = logging.getLogger(__name__)

ANY_MODEL = "auto"  # a request's name for whichever model can answer
LOAD_FAILED = 1
WORKER_DIED = 70  # EX_SOFTWARE of sysexits.h
WATCH_INTERVAL_S = 0.25
LOADING_STOP_S = 1.0  # loading cannot be interrupted, so that there is no point in waiting for long
CLOSE_S = 5.0  # for the batch that runs


@dataclass(frozen=True)
class ServiceHealth:
    """`reason` is empty when ready."""

    status: Literal["loading", "ready", "overloaded", "unhealthy", "closed"]
    reason: str = ""


@dataclass(frozen=True)
class Answer:
    """
    Attributes:
        model: name of the model that made the vectors.
        memory_step: what is done to save memory at the moment; empty when nothing is.
    """

    result: EmbedResult
    model: str
    memory_step: str = ""


class Service:
    """One model under one name.

    Args:
        name: what clients call the model.
        other_names: what they may call it too.
        load: makes the `Embedder`; called once, in the background thread.
        load_fallback: makes the small model for requests that take any; called before `load`.
        serving: bounds the requests in work and says what a dead worker means.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Embedder],
        serving: ServingSettings,
        *,
        other_names: Sequence[str] = (),
        load_fallback: Callable[[], Embedder] | None = None,
    ) -> None:
        self.name = name
        self._load_fallback = load_fallback
        self._fallback: Embedder | None = None
        self._names = {name, *other_names}
        self.exit_status = 0
        self._load = load
        self._exit_on_death = serving.on_worker_death == "exit"
        self._turns = asyncio.Semaphore(serving.max_running_requests)
        self._embedder: Embedder | None = None
        self._failure = ""
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(
        self, on_ready: Callable[[Embedder], None] = lambda _: None, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        """Begin loading. Both functions are called in the background thread; `exit_status` is set by then."""
        assert self._thread is None, "a service starts once"
        # A daemon: loading cannot be interrupted, and must not keep a process alive that was asked to stop.
        self._thread = threading.Thread(
            target=self._load_and_watch, args=(on_ready, on_failure), name="farthing-service", daemon=True
        )
        self._thread.start()

    def close(self) -> bool:
        """Take no more requests and close the model. False when it does not end in time, or is still loading."""
        self._closing.set()
        if self._thread is None:
            return True
        self._thread.join(LOADING_STOP_S if self._embedder is None else CLOSE_S)
        return not self._thread.is_alive()

    @property
    def embedder(self) -> Embedder | None:
        """The model, None until it is loaded."""
        return self._embedder

    @property
    def fallback(self) -> Embedder | None:
        """The small model for requests that take any, None until it is loaded, or where there is none."""
        return self._fallback

    def health(self) -> ServiceHealth:
        """Whether requests can be answered now, and why not."""
        if self._closing.is_set():
            return ServiceHealth("closed", "The server is shutting down.")
        if self._failure:
            return ServiceHealth("unhealthy", self._failure)
        if self._embedder is None:
            return ServiceHealth("loading", f"The model {self.name} is still being loaded; try again in a moment.")
        health, memory = self._embedder.health(), self._embedder.memory()
        if health.ready and memory is not None and memory.refuses:
            return ServiceHealth("overloaded", "Memory is short; no new work is taken until there is room.")
        return ServiceHealth("ready" if health.ready else "unhealthy", health.reason)

    def check_model(self, name: str | None) -> None:
        """Raise `UnknownModelError` unless `name` is one of the served model's, `auto`, empty or None."""
        if name and name != ANY_MODEL and name not in self._names:
            raise UnknownModelError(f"This server has no model {name!r}; it serves {self.name!r}.", param="model")

    async def embed(self, request: EmbedRequest, model: str | None = None) -> Answer:
        """The vectors of `request`, when its turn comes. Cancelling takes its texts out of the queue.

        Raises what `Embedder.embed_async` raises, `ServingError` while the model is loading or has failed to load, and
        `ClosedError` once the service is closed.
        """
        async with self._turns:
            if self._embedder is None or self._closing.is_set():
                kind = ClosedError if self._closing.is_set() else ServingError
                raise kind(self.health().reason)
            memory = self._embedder.memory()
            step = memory.name if memory is not None and memory.step else ""
            if model == ANY_MODEL and memory is not None and memory.answers_by_fallback:
                fallback = self._fallback
                if fallback is not None and can_answer(fallback, request):
                    return Answer(await fallback.embed_async(request), fallback.model, step)
            return Answer(await self._embedder.embed_async(request), self.name, step)

    def _load_and_watch(self, on_ready: Callable[[Embedder], None], on_failure: Callable[[], None]) -> None:
        with ExitStack() as opened:
            try:
                if self._load_fallback is not None:  # first, so that the plan of the other counts what is left
                    self._fallback = opened.enter_context(self._load_fallback())
                embedder = opened.enter_context(self._load())
            except Exception as error:  # noqa: BLE001 - whatever it is, the port must stop saying "loading"
                self._report_load_failure(error)
                on_failure()
                return
            if self._closing.is_set():
                return
            self._embedder = embedder
            on_ready(embedder)
            self._watch(embedder, on_failure)

    def _watch(self, embedder: Embedder, on_failure: Callable[[], None]) -> None:
        """Until closed, or until the worker is dead for good."""
        while not self._closing.wait(WATCH_INTERVAL_S):
            health = embedder.health()
            if self._exit_on_death and not health.ready:
                logger.error("The worker died, and on-worker-death is exit: %s", health.reason)
                self.exit_status = WORKER_DIED
                on_failure()
                return

    def _report_load_failure(self, error: Exception) -> None:
        self._failure = f"The model {self.name} could not be loaded: {error}"
        self.exit_status = LOAD_FAILED
        # Our own errors say what to do; anything else is a bug, and its traceback is what helps.
        logger.error("%s", self._failure, exc_info=None if isinstance(error, FarthingError) else error)


def can_answer(embedder: Embedder, request: EmbedRequest) -> bool:
    """Token ids are another model's, and vectors have the length that they have."""
    are_texts = all(isinstance(item, str) for item in request.inputs)
    return are_texts and (request.dimensions is None or request.dimensions <= embedder.dimensions)
