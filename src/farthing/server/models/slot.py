"""One model of a server through its life: not loaded, being loaded, ready, failed; and unloaded when nobody uses it.

In: a name and a function that loads a backend. Out: the backend to those who come for it, while it is there. Loading
and unloading are called by the service's one background thread (`farthing.server.models.loader_thread`); requests
wait for a future. It knows nothing of HTTP, nor of other models.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from farthing.serving.stats import ServingStats, in_all, totals

if TYPE_CHECKING:
    from farthing.models.heads import Task
    from farthing.serving.backend import Backend
    from farthing.serving.stats import Observer

State = Literal["not loaded", "loading", "ready", "failed"]


# Folders before a file's name, in a message of ours.
FOLDERS = re.compile(r"(?<![\w./:])/(?:[^\s/'\"]+/)*")
ADDRESS = re.compile(r"\b[a-z]{1,10}://[^\s,;'\"]+")
MAX_CHARS = 1000  # of a reason


class ModelEntry:
    """
    Args:
        name: what clients call the model, and what it is listed as.
        aliases: what they may call it too.
        load: makes the backend.
        task: what it is for; None until it was loaded once, where only its files say so.
        keep_alive_s: unload it after so long without a request; None keeps it.
        preload: load it when the server starts.
        place: gives the folder of its files, of which clients are told nothing; empty where there is none.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Backend],
        *,
        aliases: Sequence[str] = (),
        task: Task | None = None,
        keep_alive_s: float | None = None,
        preload: bool = True,
        place: Callable[[], str] = str,
    ) -> None:
        self.name, self.aliases, self.task = name, tuple(aliases), task
        self.keep_alive_s, self.preload = keep_alive_s, preload
        self._make, self._place = load, place
        self._lock = threading.Lock()
        self._backend: Backend | None = None
        self._loaded: Future[None] | None = None
        self._failure: Exception | None = None
        self._num_users = 0
        self._earlier = ServingStats()
        self._observer: Observer | None = None
        self._used_at = self._failed_at = time.monotonic()

    @property
    def backend(self) -> Backend | None:
        """None while it is not loaded."""
        return self._backend

    @property
    def failure(self) -> Exception | None:
        """Why the last attempt to load it failed."""
        return self._failure

    @property
    def reason(self) -> str:
        """Why, in words for clients: without this server's folders and addresses, which the log has. Empty where it did
        not fail."""
        return "" if self._failure is None else in_public(self._failure, self._place())

    def stats(self) -> ServingStats:
        """Of all its lives."""
        with self._lock:
            return self._earlier if self._backend is None else in_all((self._earlier, self._backend.stats()))

    @property
    def state(self) -> State:
        if self._backend is not None:
            return "ready"
        if self._loaded is not None:
            return "loading"
        return "not loaded" if self._failure is None else "failed"

    @contextmanager
    def used(self) -> Iterator[Backend | None]:
        """The backend, which is not unloaded meanwhile; None while it is not loaded."""
        with self._lock:
            self._num_users += 1
            backend = self._backend
        try:
            yield backend
        finally:
            with self._lock:
                self._num_users -= 1
                self._used_at = time.monotonic()

    def tell(self, observer: Observer) -> None:
        """Have `observer` told of the queue and batches of every backend that is loaded here."""
        with self._lock:
            self._observer = observer
            if self._backend is not None and self._backend.local is not None:
                self._backend.local.tell(observer)

    def wanted(self) -> tuple[Future[None], bool]:
        """What is done when it was loaded or could not be; True for the first who asks, who has it loaded."""
        with self._lock:
            if self._loaded is not None:
                return self._loaded, False
            done: Future[None] = Future()
            if self._backend is not None:
                done.set_result(None)
                return done, False
            self._loaded = done
            return done, True

    def load(self) -> None:
        """Load it and tell those who wait. Raises what loading raises; they are told that too."""
        done, _ = self.wanted()
        try:
            backend = self._make()
        except Exception as error:
            self._settle(done, None, error)
            raise
        self._settle(done, backend, None)

    def failed_since_s(self, now_s: float) -> float:
        """Seconds since the last attempt to load it failed; infinite when it did not."""
        return float("inf") if self._failure is None else now_s - self._failed_at

    def take_away_idle(self, now_s: float) -> Backend | None:
        """The backend, for whoever closes it, when nobody has used it for as long as it is kept; else None."""
        with self._lock:
            if self.keep_alive_s is None or self._num_users or now_s - self._used_at < self.keep_alive_s:
                return None
            backend, self._backend = self._backend, None
            if backend is not None:
                self._earlier = in_all((self._earlier, totals(backend.stats())))
            return backend

    def take_away(self) -> Backend | None:
        """The backend, whoever uses it."""
        with self._lock:
            backend, self._backend = self._backend, None
            return backend

    def give_up(self, reason: Exception) -> None:
        """Tell those who wait for it that nobody will load it."""
        with self._lock:
            done = self._loaded
        if done is not None:
            self._settle(done, None, reason)

    def _settle(self, done: Future[None], backend: Backend | None, failure: Exception | None) -> None:
        with self._lock:
            self._backend, self._failure, self._loaded = backend, failure, None
            self._used_at = self._failed_at = time.monotonic()
            if backend is not None:
                self.task = backend.task
                if self._observer is not None and backend.local is not None:
                    backend.local.tell(self._observer)
        done.set_result(None)


def in_public(error: Exception, place: str = "") -> str:
    """What clients are told of an error that kept a model with its files in `place` from being loaded."""
    said = str(error)
    if place:  # which may have spaces in it
        said = said.replace(f"{place}/", "").replace(place, "its folder")
    return FOLDERS.sub("", ADDRESS.sub("(an address)", said[:MAX_CHARS]))
