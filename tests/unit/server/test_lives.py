"""Models that are loaded when they are first asked, and unloaded when nobody uses them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from farthing.core.errors import CheckpointError, ServingError, WrongTaskError
from farthing.core.settings import ServingSettings
from farthing.server import service as service_module
from farthing.server.directory import Directory
from farthing.server.entry import ModelEntry
from farthing.server.service import Service
from farthing.serving.embedder import Embedder
from farthing.serving.request import EmbedRequest

REQUEST = EmbedRequest(["some text"])


class Loads:
    """Loads a folder, and remembers what it loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaded: list[Embedder] = []
        self.failure: Exception | None = None

    def __call__(self) -> Embedder:
        if self.failure is not None:
            raise self.failure
        self.loaded.append(Embedder(str(self.folder)))
        return self.loaded[-1]


@contextmanager
def running(*entries: ModelEntry, routes: dict[str, list[str]] | None = None) -> Iterator[Service]:
    service = Service(Directory(entries, routes), ServingSettings())
    settled = threading.Event()
    service.start(on_ready=settled.set, on_failure=settled.set)
    assert settled.wait(30)
    yield service
    assert service.close()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_model_is_loaded_once_however_many_ask_for_it_first(tiny_qwen3: Path) -> None:
    load = Loads(tiny_qwen3)
    late = ModelEntry("late", load, task="embed", preload=False)

    async def ask(service: Service) -> list[str]:
        return [answer.model for answer in await asyncio.gather(*(service.embed(REQUEST, "late") for _ in range(5)))]

    with running(late) as service:
        assert (late.state, service.health().status) == ("not loaded", "ready")
        assert asyncio.run(ask(service)) == ["late"] * 5
        assert (late.state, len(load.loaded)) == ("ready", 1)
    assert load.loaded[0].health().reason == "closed"


def test_a_caller_who_gives_up_leaves_the_loading_to_the_others(tiny_qwen3: Path) -> None:
    go_on = threading.Event()
    load = Loads(tiny_qwen3)

    def slow() -> Embedder:
        assert go_on.wait(30)
        return load()

    async def ask(service: Service) -> str:
        first = asyncio.ensure_future(service.embed(REQUEST, "late"))
        second = asyncio.ensure_future(service.embed(REQUEST, "late"))
        await asyncio.sleep(0.1)
        first.cancel()
        go_on.set()
        return (await second).model

    with running(ModelEntry("late", slow, task="embed", preload=False)) as service:
        assert asyncio.run(ask(service)) == "late"


def test_who_waits_for_a_model_that_will_not_be_loaded_any_more_is_told(tiny_qwen3: Path) -> None:
    go_on, begun = threading.Event(), threading.Event()
    load = Loads(tiny_qwen3)

    def slow() -> Embedder:
        begun.set()
        assert go_on.wait(30)
        return load()

    async def ask(service: Service) -> None:
        first = asyncio.ensure_future(service.embed(REQUEST, "slow"))
        assert await asyncio.to_thread(begun.wait, 30)
        second = asyncio.ensure_future(service.embed(REQUEST, "next"))
        await asyncio.sleep(0.05)
        closing = asyncio.ensure_future(asyncio.to_thread(service.close))
        await asyncio.sleep(0.05)
        go_on.set()
        await asyncio.gather(first, return_exceptions=True)
        with pytest.raises(ServingError, match="shutting down"):
            await asyncio.wait_for(second, 10)
        assert await closing

    entries = [
        ModelEntry("slow", slow, task="embed", preload=False),
        ModelEntry("next", load, task="embed", preload=False),
    ]
    with running(*entries) as service:
        asyncio.run(ask(service))


def test_an_idle_model_is_unloaded_and_loaded_again(tiny_qwen3: Path) -> None:
    load = Loads(tiny_qwen3)
    entry = ModelEntry("m", load, keep_alive_s=0.2)
    with running(entry) as service:
        first = asyncio.run(service.embed(REQUEST)).result.vectors
        wait_for(lambda: entry.state == "not loaded")
        wait_for(lambda: load.loaded[0].health().reason == "closed")
        assert service.health().status == "ready"
        assert entry.stats().texts_total == 1
        again = asyncio.run(service.embed(REQUEST)).result.vectors
        assert (first == again).all()
        assert len(load.loaded) == 2
        assert entry.stats().texts_total == 2


def test_a_model_in_use_is_not_unloaded(tiny_qwen3: Path) -> None:
    entry = ModelEntry("m", Loads(tiny_qwen3), keep_alive_s=0)
    entry.load()
    with entry.used() as backend:
        assert backend is not None
        assert entry.take_away_idle(time.monotonic() + 100) is None
    taken = entry.take_away_idle(time.monotonic() + 100)
    assert taken is backend
    backend.close()


def test_a_model_that_cannot_be_loaded_is_said_and_tried_again_later(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Loads(tiny_qwen3)
    load.failure = CheckpointError("config.json is missing")
    other = ModelEntry("other", Loads(tiny_qwen3))
    entry = ModelEntry("m", load, task="embed", preload=False)
    with running(other, entry) as service:
        for _ in range(2):
            with pytest.raises(ServingError, match=r"model m could not be loaded: config.json is missing"):
                asyncio.run(service.embed(REQUEST, "m"))
        assert (entry.state, service.health().status) == ("failed", "ready")
        load.failure = None
        with pytest.raises(ServingError):  # not tried again at once
            asyncio.run(service.embed(REQUEST, "m"))
        monkeypatch.setattr(service_module, "RETRY_LOADING_S", 0)
        assert asyncio.run(service.embed(REQUEST, "m")).model == "m"


def test_a_route_is_answered_by_the_first_model_that_can(tiny_qwen3: Path, starter_dir: Path) -> None:
    broken = Loads(tiny_qwen3)
    broken.failure = CheckpointError("gone")
    entries = ModelEntry("first", broken, task="embed", preload=False), ModelEntry("second", Loads(starter_dir))
    with running(*entries, routes={"any": ["first", "second"]}) as service:
        for _ in range(2):  # it is tried once, and not at once again
            assert asyncio.run(service.embed(REQUEST, "any")).model == "second"
        with pytest.raises(ServingError):  # vectors of 384 dimensions have no 500
            asyncio.run(service.embed(EmbedRequest(["a"], dimensions=500), "any"))


def test_a_model_is_asked_only_for_what_it_does(tiny_qwen3: Path) -> None:
    from farthing.serving.rerank_request import RerankRequest

    with running(ModelEntry("m", Loads(tiny_qwen3))) as service:
        for name in (None, "m"):
            with pytest.raises(WrongTaskError, match="'m' makes vectors and scores no pairs"):
                asyncio.run(service.rerank(RerankRequest((("a", "b"),)), name))
