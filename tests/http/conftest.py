"""The real server on a free port, with real models."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from farthing.core.resolve import Resolved
from farthing.core.settings import (
    AccessSettings,
    CacheSettings,
    Checked,
    ConnectionSettings,
    EngineSettings,
    ServerSettings,
    ServingSettings,
    SourceSettings,
)
from farthing.server.app import create_app
from farthing.server.http.listening import listen, often_accepted
from farthing.server.models.directory import Directory
from farthing.server.models.service import Service
from farthing.server.models.slot import ModelEntry
from farthing.server.observe.tracing import Tracing
from farthing.server.run import make_server
from farthing.serving.backend import Backend
from farthing.serving.cache.embedder import CachedEmbedder
from farthing.serving.cache.vectors import open_cache
from farthing.serving.embedder import Embedder
from farthing.serving.reranker import Reranker

CACHE_BYTES = 16 * 2**20

Load = Callable[[], Embedder | Reranker]


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    url: str
    service: Service
    web: uvicorn.Server
    app: FastAPI

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.url)
        assert url.port is not None
        return url.host, url.port

    @property
    def embedder(self) -> Embedder:
        backend = self.service.embedder
        assert backend is not None
        assert isinstance(backend.local, Embedder)
        return backend.local

    @staticmethod
    def wait_until(condition: Callable[[], object]) -> None:
        wait_for(condition)

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.service.health().status != "loading")
        assert self.service.health().status == "ready", self.service.health()


Launch = Callable[..., AbstractContextManager[Running]]


def wait_for(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Poll until `condition` holds; fail the test when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


@contextmanager
def launch_service(
    load: Load,
    *,
    name: str = "test-model",
    serving: ServingSettings | None = None,
    server: ServerSettings | None = None,
    access: AccessSettings | None = None,
    connection: ConnectionSettings | None = None,
    ready: bool = True,
    others: Sequence[ModelEntry] = (),
    groups: Sequence[Checked] = (),
    cache: CacheSettings | None = None,
    tracing: Tracing | None = None,
) -> Iterator[Running]:
    """Serve in a thread what `load` gives, by the settings in `groups`; with `ready`, wait until it is loaded.

    Nothing is cached without `cache`.
    """
    listener = listen("127.0.0.1", 0)
    connection = connection or ConnectionSettings()
    groups = (*groups, *((access,) if access else ()), connection)
    settings = Resolved.of(serving or ServingSettings(), server or ServerSettings(), *groups)
    kept = open_cache(cache or CacheSettings(cache="off"), CACHE_BYTES)

    def load_cached() -> Backend:
        model = load()
        if kept is None or isinstance(model, Reranker):
            return model
        model.on_memory_step(kept.on_memory_step)
        return CachedEmbedder(model, kept, settings.group(ServingSettings))

    directory = Directory([ModelEntry(name, load_cached), *others])
    service = Service(directory, settings.group(ServingSettings), read_cache=lambda: kept)
    app = create_app(service, settings, tracing)
    web = make_server(app, settings.group(ServerSettings), connection)
    thread = threading.Thread(target=web.run, kwargs={"sockets": often_accepted(listener)})
    scheme = "https" if connection and connection.tls_certfile else "http"
    running = Running(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", service, web, app)
    thread.start()
    service.start()
    try:
        if ready:
            running.wait_until_ready()
        wait_for(lambda: web.started)
        yield running
    finally:
        web.should_exit = True
        thread.join()
        assert service.close()


@contextmanager
def launch_folder(
    folder: Path, *, serving: ServingSettings | None = None, weight_format: str = "fp32", **others: object
) -> Iterator[Running]:
    def load() -> Embedder:
        engine, settings = EngineSettings(format=weight_format), serving or ServingSettings()
        return Embedder.from_settings(str(folder), SourceSettings(), engine, settings)

    with launch_service(load, serving=serving, **others) as running:  # type: ignore[arg-type]
        yield running


@pytest.fixture(scope="session")
def launch() -> Launch:
    """Serve the model in a folder, with settings of the test's own."""
    return launch_folder


@pytest.fixture(scope="session")
def launch_load() -> Launch:
    """Serve what a function of the test's own loads."""
    return launch_service


@pytest.fixture(scope="session")
def server(starter_dir: Path) -> Iterator[Running]:
    """MiniLM with default settings, for all tests that leave it as it is."""
    with launch_folder(starter_dir, name="minilm") as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as session:
        yield session
