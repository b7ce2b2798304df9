"""Models that are loaded when they are first asked, and unloaded when nobody uses them."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from farthing.core.errors import CheckpointError, ServingError, WrongTaskError
from farthing.core.settings import ServingSettings
from farthing.server.admin import model_object
from farthing.server.models import service as service_module
from farthing.server.models.directory import Directory
from farthing.server.models.service import Service
from farthing.server.models.slot import ModelEntry, in_public
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


def test_a_model_that_is_asked_all_the_time_is_tried_again_nevertheless(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "RETRY_LOADING_S", 0.5)
    load = Loads(tiny_qwen3)
    load.failure = CheckpointError("broken")
    with running(ModelEntry("other", Loads(tiny_qwen3)), ModelEntry("m", load, task="embed", preload=False)) as service:
        with pytest.raises(ServingError, match="broken"):
            asyncio.run(service.embed(REQUEST, "m"))
        load.failure = None

        def answers() -> bool:
            try:
                return asyncio.run(service.embed(REQUEST, "m")).model == "m"
            except ServingError:
                return False

        wait_for(answers)  # asks every 10 ms


def test_a_failed_model_of_a_route_is_tried_again_while_the_next_one_answers(
    tiny_qwen3: Path, starter_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Loads(tiny_qwen3)
    load.failure = CheckpointError("broken")
    entries = ModelEntry("first", load, task="embed", preload=False), ModelEntry("second", Loads(starter_dir))
    with running(*entries, routes={"any": ["first", "second"]}) as service:
        assert asyncio.run(service.embed(REQUEST, "any")).model == "second"
        load.failure = None
        assert asyncio.run(service.embed(REQUEST, "any")).model == "second"
        monkeypatch.setattr(service_module, "RETRY_LOADING_S", 0)
        wait_for(lambda: asyncio.run(service.embed(REQUEST, "any")).model == "first")


@pytest.mark.parametrize(
    ("error", "place", "told"),
    [
        (
            CheckpointError("/srv/my models/m/config.json cannot be read."),
            "/srv/my models/m",
            "config.json cannot be read.",
        ),
        (CheckpointError("/srv/my models/m has no config.json."), "/srv/my models/m", "its folder has no config.json."),
        (CheckpointError("/srv/m/1_Pooling/config.json is cut."), "", "config.json is cut."),
        (CheckpointError("no copy (/root/.cache/farthing) is there"), "", "no copy (farthing) is there"),
        (CheckpointError("text/plain and 1/2 stay"), "", "text/plain and 1/2 stay"),
        (
            ServingError("No upstream: http://10.0.0.5:8000/v1 cannot be reached"),
            "",
            "No upstream: (an address) cannot be reached",
        ),
        (RuntimeError("a bug in '/srv/x/y.py'"), "", "a bug in 'y.py'"),
        (CheckpointError("x" * 5000), "", "x" * 1000),
    ],
)
def test_clients_are_not_told_where_a_servers_files_are(error: Exception, place: str, told: str) -> None:
    assert in_public(error, place) == told


def test_the_folder_of_a_model_that_fails_is_in_the_log_alone(
    tmp_path: Path, starter_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that is broken, and is repaired."""
    monkeypatch.setattr(service_module, "RETRY_LOADING_S", 0.2)
    folder = shutil.copytree(starter_dir, tmp_path / "a folder")
    (folder / "tokenizer.json").write_text("{")
    entry = ModelEntry("m", lambda: Embedder(str(folder)), task="embed", preload=False, place=lambda: str(folder))
    with running(ModelEntry("other", Loads(starter_dir)), entry) as service:
        with pytest.raises(ServingError) as caught:
            asyncio.run(service.embed(REQUEST, "m"))
        assert str(caught.value).startswith("The model m could not be loaded: tokenizer.json cannot be read: ")
        assert str(tmp_path) not in str(caught.value)
        assert "reason" in model_object(entry)
        assert str(tmp_path) not in str(model_object(entry))
        wait_for(lambda: f"{folder / 'tokenizer.json'} cannot be read" in caplog.text)
        shutil.copy(starter_dir / "tokenizer.json", folder)
        time.sleep(0.3)
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
    from farthing.serving.request import RerankRequest

    with running(ModelEntry("m", Loads(tiny_qwen3))) as service:
        for name in (None, "m"):
            with pytest.raises(WrongTaskError, match="'m' makes vectors and scores no pairs"):
                asyncio.run(service.rerank(RerankRequest((("a", "b"),)), name))
