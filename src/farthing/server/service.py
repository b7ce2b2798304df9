"""The served model: loaded in the background, watched, named, and given a bounded number of requests at once.

In: a function that loads the `Embedder`, and `EmbedRequest`s. Out: `EmbedResult`s, or typed errors. One background
thread loads the model, so that the port answers at once, and then watches it. The service does not stop the process:
it reports a failure with an exit status, and `farthing.server.run` acts on it. It knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from farthing.core.errors import ClosedError, FarthingError, ServingError, UnknownModelError
from farthing.core.settings import ServingSettings

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder
    from farthing.serving.request import EmbedRequest, EmbedResult

logger = logging.getLogger(__name__)

LOAD_FAILED = 1
WORKER_DIED = 70  # EX_SOFTWARE of sysexits.h
WATCH_INTERVAL_S = 0.25
LOADING_STOP_S = 1.0  # loading cannot be interrupted, so that there is no point in waiting for long
CLOSE_S = 5.0  # for the batch that runs


@dataclass(frozen=True)
class ServiceHealth:
    """`reason` is empty when ready."""

    status: Literal["loading", "ready", "unhealthy", "closed"]
    reason: str = ""


class Service:
    """One model under one name.

    Args:
        name: what clients call the model.
        other_names: what they may call it too.
        load: makes the `Embedder`; called once, in the background thread.
        serving: bounds the requests in work and says what a dead worker means.
    """

    def __init__(
        self, name: str, load: Callable[[], Embedder], serving: ServingSettings, *, other_names: Sequence[str] = ()
    ) -> None:
        self.name = name
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

    def health(self) -> ServiceHealth:
        """Whether requests can be answered now, and why not."""
        if self._closing.is_set():
            return ServiceHealth("closed", "The server is shutting down.")
        if self._failure:
            return ServiceHealth("unhealthy", self._failure)
        if self._embedder is None:
            return ServiceHealth("loading", f"The model {self.name} is still being loaded; try again in a moment.")
        health = self._embedder.health()
        return ServiceHealth("ready" if health.ready else "unhealthy", health.reason)

    def check_model(self, name: str | None) -> None:
        """Raise `UnknownModelError` unless `name` is one of the served model's, empty or None."""
        if name and name not in self._names:
            raise UnknownModelError(f"This server has no model {name!r}; it serves {self.name!r}.", param="model")

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """The vectors of `request`, when its turn comes. Cancelling takes its texts out of the queue.

        Raises what `Embedder.embed_async` raises, `ServingError` while the model is loading or has failed to load, and
        `ClosedError` once the service is closed.
        """
        async with self._turns:
            if self._embedder is None or self._closing.is_set():
                kind = ClosedError if self._closing.is_set() else ServingError
                raise kind(self.health().reason)
            return await self._embedder.embed_async(request)

    def _load_and_watch(self, on_ready: Callable[[Embedder], None], on_failure: Callable[[], None]) -> None:
        try:
            embedder = self._load()
        except Exception as error:  # noqa: BLE001 - whatever it is, the port must stop saying "loading"
            self._report_load_failure(error)
            on_failure()
            return
        with embedder:
            if self._closing.is_set():
                return
            self._embedder = embedder
            on_ready(embedder)
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
