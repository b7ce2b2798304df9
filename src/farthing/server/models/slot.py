"""One model of a server through its life: not loaded, being loaded, ready, failed; and unloaded when nobody uses it.

In: a name and a function that loads a backend. Out: the backend, for requests, while it is there. The service's one
background thread (`farthing.server.models.loader_thread`) loads and unloads it; requests wait for a future. The entry
knows nothing of HTTP, nor of other models.
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
    from farthing.models.forward.heads import Task
    from farthing.serving.backend import Backend
    from farthing.serving.stats import Observer

State = Literal["not loaded", "loading", "ready", "failed"]


# The folders before a file's name in one of our messages.
FOLDERS = re.compile(r"(?<![\w./:])/(?:[^\s/'\"]+/)*")
ADDRESS = re.compile(r"\b[a-z]{1,10}://[^\s,;'\"]+")
MAX_CHARS = 1000  # of a reason that clients are told


class ModelEntry:
    """A model of the server.

    Args:
        name: what clients call the model, and its listed name.
        aliases: other names by which clients may call it.
        load: makes the backend.
        task: what the model is for; None until it has been loaded once, where only its files say so.
        keep_alive_s: seconds without a request after which the model is unloaded; None keeps it.
        preload: whether to load it when the server starts.
        place: returns the folder of its files, of which clients are told nothing; empty where there is none.
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
        """The backend; None while the model is not loaded."""
        return self._backend

    @property
    def failure(self) -> Exception | None:
        """The error of the last attempt to load the model, if it failed."""
        return self._failure

    @property
    def reason(self) -> str:
        """Why loading failed, in words for clients; empty where it did not fail. The words hold none of this server's
        folders and addresses, which the log has."""
        return "" if self._failure is None else in_public(self._failure, self._place())

    def stats(self) -> ServingStats:
        """Return the counts of the model over all times that it was loaded."""
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
        """Yield the backend, which is not unloaded meanwhile; None while the model is not loaded."""
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
        """Tell `observer` of the queue and batches of every backend that is loaded here."""
        with self._lock:
            self._observer = observer
            if self._backend is not None and self._backend.local is not None:
                self._backend.local.tell(observer)

    def wanted(self) -> tuple[Future[None], bool]:
        """Return a future that is done when loading has ended, and whether the caller is the first and must load it."""
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
        """Load the model and wake those who wait for it. Raises what loading raises, which is kept in `failure`."""
        done, _ = self.wanted()
        try:
            backend = self._make()
        except Exception as error:
            self._settle(done, None, error)
            raise
        self._settle(done, backend, None)

    def failed_since_s(self, now_s: float) -> float:
        """Return the seconds since the last attempt to load the model failed; infinite when it did not fail."""
        return float("inf") if self._failure is None else now_s - self._failed_at

    def take_away_idle(self, now_s: float) -> Backend | None:
        """Hand over the backend, to be closed, if it has been idle for as long as it is kept; else return None."""
        with self._lock:
            if self.keep_alive_s is None or self._num_users or now_s - self._used_at < self.keep_alive_s:
                return None
            backend, self._backend = self._backend, None
            if backend is not None:
                self._earlier = in_all((self._earlier, totals(backend.stats())))
            return backend

    def take_away(self) -> Backend | None:
        """Hand over the backend, even if it is in use."""
        with self._lock:
            backend, self._backend = self._backend, None
            return backend

    def give_up(self, reason: Exception) -> None:
        """Tell those who wait for the model that nobody will load it."""
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
    """Return what clients are told of an error that kept a model, with its files in `place`, from being loaded."""
    said = str(error)
    if place:  # the place may have spaces in it
        said = said.replace(f"{place}/", "").replace(place, "its folder")
    return FOLDERS.sub("", ADDRESS.sub("(an address)", said[:MAX_CHARS]))
