"""The served models: loaded in the background, watched, named, and given a bounded number of requests at once.

In: functions that load an `Embedder`, a `Reranker` or one of each, and requests to them. Out: answers, or typed
errors. One background thread loads the models, so that the port answers at once, and then watches them. The service
does not stop the process: it reports a failure with an exit status, and `farthing.server.run` acts on it. It knows
nothing of HTTP.

Requests for the model `auto` are answered by the served model, or while memory is very short by a small one, if there
is one; the answer names it, since its vectors cannot be compared with the other's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from farthing.core.errors import ClosedError, FarthingError, ServingError, UnknownModelError, WrongTaskError
from farthing.core.settings import ServingSettings
from farthing.server.answers import Answer, Companion, Scores, ServiceHealth, can_answer

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder
    from farthing.serving.governor import MemoryState
    from farthing.serving.health import Health
    from farthing.serving.request import EmbedRequest
    from farthing.serving.rerank_request import RerankRequest
    from farthing.serving.reranker import Reranker
    from farthing.serving.served import ServedModel

logger = logging.getLogger(__name__)

ANY_MODEL = "auto"  # a request's name for whichever model can answer
LOAD_FAILED = 1
WORKER_DIED = 70  # EX_SOFTWARE of sysexits.h
WATCH_INTERVAL_S = 0.25
LOADING_STOP_S = 1.0  # loading cannot be interrupted, so that there is no point in waiting for long
CLOSE_S = 5.0  # for the batch that runs


class Service:
    """One model under one name, and with a companion a second one under another.

    Args:
        name: what clients call the model.
        other_names: what they may call it too.
        load: makes the `Embedder`, or the `Reranker` of a server that only scores; called once, in the background.
        load_fallback: makes the small model for requests that take any; called before `load`.
        companion: loaded before `load`.
        serving: bounds the requests in work and says what a dead worker means.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Embedder | Reranker],
        serving: ServingSettings,
        *,
        other_names: Sequence[str] = (),
        load_fallback: Callable[[], Embedder] | None = None,
        companion: Companion | None = None,
    ) -> None:
        self.name = name
        self._load_fallback, self._companion = load_fallback, companion
        self._fallback: Embedder | None = None
        self._reranker: Reranker | None = None
        self._served: tuple[ServedModel, ...] = ()  # when all are loaded
        self._names = {name, *other_names}
        self.exit_status = 0
        self._load = load
        self._exit_on_death = serving.on_worker_death == "exit"
        self._turns = asyncio.Semaphore(serving.max_running_requests)
        self._embedder: Embedder | None = None
        self._failure = ""
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_ready: Callable[[], None] = lambda: None, on_failure: Callable[[], None] = lambda: None) -> None:
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
        self._thread.join(CLOSE_S if self._served else LOADING_STOP_S)
        return not self._thread.is_alive()

    @property
    def embedder(self) -> Embedder | None:
        """The model that makes vectors, None until all is loaded, and of a server that only scores."""
        return self._embedder

    @property
    def reranker(self) -> Reranker | None:
        """The model that scores pairs, None until all is loaded, or where there is none."""
        return self._reranker if self._served else None

    @property
    def served(self) -> tuple[ServedModel, ...]:
        """The embedding model first; empty until all are loaded."""
        return self._served

    @property
    def reranker_name(self) -> str:
        return self._companion.names[0] if self._companion else self.name

    @property
    def listed_names(self) -> list[str]:
        return [self.name, *([self.reranker_name] if self._companion else [])]

    def memory(self) -> MemoryState | None:
        """Which step to save memory is taken; None until all is loaded, and where nobody watches it."""
        return self._served[0].memory() if self._served else None

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
        if not self._served:
            return ServiceHealth("loading", f"The model {self.name} is still being loaded; try again in a moment.")
        broken = self._broken()
        if broken is not None:
            return ServiceHealth("unhealthy", broken.reason)
        memory = self.memory()
        if memory is not None and memory.refuses:
            return ServiceHealth("overloaded", "Memory is short; no new work is taken until there is room.")
        return ServiceHealth("ready")

    def check_model(self, name: str | None, *, scores: bool = False) -> None:
        """Raise `UnknownModelError` unless `name` is one of the model's that is asked, `auto`, empty or None."""
        known, shown = self._names, self.name
        if scores and self._companion:
            known, shown = set(self._companion.names), self.reranker_name
        if name and name != ANY_MODEL and name not in known:
            raise UnknownModelError(f"This server has no model {name!r}; it serves {shown!r}.", param="model")

    def listed_name(self, name: str) -> str:
        """The listed name of the model that clients call so. Raises `UnknownModelError`."""
        if self._companion and name in self._companion.names:
            return self.reranker_name
        self.check_model(name)
        return self.name

    async def embed(self, request: EmbedRequest, model: str | None = None) -> Answer:
        """The vectors of `request`, when its turn comes. Cancelling takes its texts out of the queue.

        Raises what `Embedder.embed_async` raises, `ServingError` while the model is loading or has failed to load, and
        `ClosedError` once the service is closed.
        """
        async with self._turns:
            self._check_loaded()
            if self._embedder is None:
                raise WrongTaskError(
                    f"This server's model {self.name!r} scores pairs and makes no vectors: POST /v1/rerank. For "
                    "vectors start a server with an embedding model.",
                    param="model",
                )
            memory = self._embedder.memory()
            step = memory.name if memory is not None and memory.step else ""
            if model == ANY_MODEL and memory is not None and memory.answers_by_fallback:
                fallback = self._fallback
                if fallback is not None and can_answer(fallback, request):
                    return Answer(await fallback.embed_async(request), fallback.model, step)
            return Answer(await self._embedder.embed_async(request), self.name, step)

    async def rerank(self, request: RerankRequest) -> Scores:
        """Scores of the request's pairs, when its turn comes. Cancelling takes its pairs out of the queue.

        Raises what `Reranker.rerank_async` raises, and as `embed`.
        """
        async with self._turns:
            self._check_loaded()
            if self._reranker is None:
                raise WrongTaskError(
                    f"This server's model {self.name!r} makes vectors and scores no pairs. Start the server with "
                    "--reranker and a model that does.",
                    param="model",
                )
            return Scores(await self._reranker.rerank_async(request), self.reranker_name)

    def _broken(self) -> Health | None:
        """Of the first model that cannot answer."""
        return next((health for health in (model.health() for model in self._served) if not health.ready), None)

    def _check_loaded(self) -> None:
        if not self._served or self._closing.is_set():
            kind = ClosedError if self._closing.is_set() else ServingError
            raise kind(self.health().reason)

    def _load_and_watch(self, on_ready: Callable[[], None], on_failure: Callable[[], None]) -> None:
        with ExitStack() as opened:
            try:
                if self._load_fallback is not None:  # first, so that the plan of the other counts what is left
                    self._fallback = opened.enter_context(self._load_fallback())
                if self._companion is not None:
                    self._reranker = opened.enter_context(self._companion.load())
                model = self._load()
                opened.enter_context(model)
            except Exception as error:  # noqa: BLE001 - whatever it is, the port must stop saying "loading"
                self._report_load_failure(error)
                on_failure()
                return
            if self._closing.is_set():
                return
            self._take(model)
            on_ready()
            self._watch(on_failure)

    def _take(self, model: Embedder | Reranker) -> None:
        if model.task == "embed":
            self._embedder = model
            self._served = (model,) if self._reranker is None else (model, self._reranker)
        else:
            self._reranker = model
            self._served = (model,)

    def _watch(self, on_failure: Callable[[], None]) -> None:
        """Until closed, or until a worker is dead for good."""
        while not self._closing.wait(WATCH_INTERVAL_S):
            health = self._broken()
            if self._exit_on_death and health is not None:
                logger.error("The worker died, and on-worker-death is exit: %s", health.reason)
                self.exit_status = WORKER_DIED
                on_failure()
                return

    def _report_load_failure(self, error: Exception) -> None:
        self._failure = f"The model {self.name} could not be loaded: {error}"
        self.exit_status = LOAD_FAILED
        # Our own errors say what to do; anything else is a bug, and its traceback is what helps.
        logger.error("%s", self._failure, exc_info=None if isinstance(error, FarthingError) else error)
