"""The one thread that loads models, unloads those that nobody uses, watches them, and closes them in the end.

In: entries, and orders to load one of them. Out: whether the server is ready, why it is not, and an exit status. The
thread does not stop the process: it reports a failure, and `farthing.server.run` acts on it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from farthing.core.errors import ClosedError, FarthingError
from farthing.server.models.slot import ModelEntry, in_public

logger = logging.getLogger(__name__)

LOAD_FAILED = 1
WORKER_DIED = 70  # EX_SOFTWARE of sysexits.h
WATCH_INTERVAL_S = 0.25
LOADING_STOP_S = 1.0  # loading cannot be interrupted, so there is no point in waiting for long
CLOSE_S = 5.0  # so that the running batch can end

Event = Callable[[], None]


class Keeper:
    """The thread, and what it has found out.

    Args:
        prepare: called before the first model is loaded; raises when none can be loaded.
        exits_on_death: whether a dead worker ends the server.

    Attributes:
        is_ready: whether all models that are loaded at the start are there.
        failure: why the server could not start, in words for clients; empty when nothing failed.
    """

    def __init__(self, entries: Sequence[ModelEntry], prepare: Event, *, exits_on_death: bool) -> None:
        self.is_ready = False
        self.failure = ""
        self.exit_status = 0
        self._entries, self._prepare, self._exits_on_death = tuple(entries), prepare, exits_on_death
        self._orders: queue.SimpleQueue[ModelEntry | None] = queue.SimpleQueue()  # to load; None only wakes the thread
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()

    def start(self, on_ready: Event, on_failure: Event) -> None:
        """Start the thread, which calls both functions; `exit_status` is set by then."""
        assert self._thread is None, "a service starts once"
        # A daemon thread, because loading cannot be interrupted, and must not keep a process alive that was asked to
        # stop.
        self._thread = threading.Thread(
            target=self._live, args=(on_ready, on_failure), name="farthing-service", daemon=True
        )
        self._thread.start()

    def order(self, entry: ModelEntry) -> None:
        """Have `entry` loaded after the models that were ordered before it."""
        self._orders.put(entry)

    def close(self) -> bool:
        """Close all models. Returns False when that does not end in time, or a model is still being loaded."""
        self._closing.set()
        self._orders.put(None)
        if self._thread is None:
            return True
        self._thread.join(CLOSE_S if self.is_ready else LOADING_STOP_S)
        return not self._thread.is_alive()

    def broken(self) -> str:
        """Return why the first loaded model that is broken cannot answer; empty when all models can."""
        healths = (entry.backend.health() for entry in self._entries if entry.backend is not None)
        return next((health.reason for health in healths if not health.ready), "")

    def _live(self, on_ready: Event, on_failure: Event) -> None:
        try:
            if self._load_first(on_failure):
                on_ready()
                self._watch(on_failure)
        finally:
            for entry in self._entries:
                backend = entry.take_away()
                if backend is not None:
                    backend.close()
                entry.give_up(ClosedError("The server is shutting down."))

    def _load_first(self, on_failure: Event) -> bool:
        """Load the models that are needed at the start, and return whether the server is ready."""
        name = self._entries[0].name
        try:
            self._prepare()
            for entry in self._entries:
                name = entry.name
                if entry.preload:
                    entry.load()
        except Exception as error:  # noqa: BLE001 - whatever it is, the port must stop saying "loading"
            self.failure = f"The model {name} could not be loaded: {in_public(error)}"
            self.exit_status = LOAD_FAILED
            log_failure(f"The model {name} could not be loaded: {error}", error)
            on_failure()
            return False
        self.is_ready = not self.is_closing
        return self.is_ready

    def _watch(self, on_failure: Event) -> None:
        """Watch the models until this is closed, or until a worker is dead for good."""
        while not self.is_closing:
            self._take_order()
            self._unload_idle(time.monotonic())
            broken = self.broken() if self._exits_on_death else ""
            if broken:
                logger.error("The worker died, and on-worker-death is exit: %s", broken)
                self.exit_status = WORKER_DIED
                on_failure()
                return

    def _take_order(self) -> None:
        try:
            entry = self._orders.get(timeout=WATCH_INTERVAL_S)
        except queue.Empty:
            return
        if entry is None:
            return
        started = time.perf_counter()
        try:
            entry.load()
        except Exception as error:  # noqa: BLE001 - those who wait for it are told; the other models go on
            log_failure(f"The model {entry.name} could not be loaded: {error}", error)
        else:
            logger.info("Loaded %s in %.1f s.", entry.name, time.perf_counter() - started)

    def _unload_idle(self, now_s: float) -> None:
        for entry in self._entries:
            backend = entry.take_away_idle(now_s)
            if backend is not None:
                backend.close()
                logger.info("Unloaded %s, which nobody used for %g s.", entry.name, entry.keep_alive_s)


def log_failure(message: str, error: Exception) -> None:
    # Our own errors say what to do. Any other error is a bug, and its traceback is what helps.
    logger.error("%s", message, exc_info=None if isinstance(error, FarthingError) else error)
