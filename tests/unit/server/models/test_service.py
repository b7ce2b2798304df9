"""The service without HTTP: its states, its name, its turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from farthing.core.errors import CheckpointError, ClosedError, ServingError
from farthing.core.settings import ServingSettings
from farthing.engine.runner import Runner
from farthing.server.models.directory import Directory
from farthing.server.models.service import PER_TOKEN_REQUESTS, Service
from farthing.server.models.slot import ModelEntry
from farthing.serving.embedder import Embedder
from farthing.serving.request import CheckedRequest, EmbedRequest, EmbedResult

REQUEST = EmbedRequest(["some text"])


def service_of(load: Callable[[], Embedder], **settings: object) -> Service:
    return Service(Directory([ModelEntry("m", load)]), ServingSettings(**settings))  # type: ignore[arg-type]


def start(load: Callable[[], Embedder], **settings: object) -> Service:
    """A service that is ready or has failed."""
    service = service_of(load, **settings)
    settled = threading.Event()
    service.start(on_ready=lambda: settled.set(), on_failure=settled.set)
    assert settled.wait(30)
    return service


def test_it_embeds_until_it_is_closed(tiny_qwen3: Path) -> None:
    service = start(lambda: Embedder(str(tiny_qwen3)))
    assert service.health().status == "ready"
    answer = asyncio.run(service.embed(REQUEST))
    assert (answer.model, answer.memory_step) == ("m", "")
    assert answer.result.vectors.shape == (1, service.embedder.dimensions if service.embedder else 0)
    assert service.close()
    assert service.health().status == "closed"
    with pytest.raises(ClosedError, match="shutting down"):
        asyncio.run(service.embed(REQUEST))


@pytest.mark.parametrize("error", [CheckpointError("config.json is missing"), ValueError("a bug")])
def test_a_failed_load_is_logged_and_reported(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Embedder:
        raise error

    service = start(load)
    assert (service.exit_status, service.health().status) == (1, "unhealthy")
    with pytest.raises(ServingError, match=str(error)):
        asyncio.run(service.embed(REQUEST))
    (record,) = caplog.records
    assert str(error) in record.getMessage()
    # A traceback says nothing more about our own errors, and everything about a bug.
    assert bool(record.exc_info) == isinstance(error, ValueError)
    assert service.close()


def test_a_model_that_was_loaded_after_the_close_is_closed_too(tiny_qwen3: Path) -> None:
    go_on = threading.Event()
    loaded: list[Embedder] = []

    def load() -> Embedder:
        assert go_on.wait(30)
        loaded.append(Embedder(str(tiny_qwen3)))
        return loaded[0]

    service = service_of(load)
    service.start(on_ready=lambda: pytest.fail("it was closed before"))
    assert not service.close()
    go_on.set()
    while not service.close():
        pass
    assert loaded[0].health().reason == "closed"


@pytest.mark.parametrize(("per_token", "most"), [(False, 3), (True, PER_TOKEN_REQUESTS)])
def test_no_more_requests_than_allowed_are_in_work_at_once(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch, per_token: bool, most: int
) -> None:
    in_work: list[int] = [0]
    compute = Embedder.compute

    async def counted(self: Embedder, checked: CheckedRequest) -> EmbedResult:
        in_work.append(in_work[-1] + 1)
        try:
            return await compute(self, checked)
        finally:
            in_work.append(in_work[-1] - 1)

    async def many(service: Service) -> None:
        await asyncio.gather(*(service.embed(replace(REQUEST, per_token=per_token)) for _ in range(20)))

    monkeypatch.setattr(Embedder, "compute", counted)
    service = start(lambda: Embedder(str(tiny_qwen3)), max_running_requests=3)
    asyncio.run(many(service))
    assert max(in_work) == most
    assert in_work[-1] == 0
    assert service.close()


@pytest.mark.parametrize(("policy", "status"), [("exit", 70), ("restart", 0)])
def test_a_dead_worker_ends_the_service_only_when_told_so(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch, policy: str, status: int
) -> None:
    def die(*_: object) -> None:
        raise SystemExit("the device has gone")

    monkeypatch.setattr(Runner, "run", die)
    failed = threading.Event()
    ready = threading.Event()
    service = service_of(lambda: Embedder(str(tiny_qwen3), on_worker_death=policy), on_worker_death=policy)
    service.start(on_ready=lambda: ready.set(), on_failure=failed.set)
    assert ready.wait(30)
    with pytest.raises(ServingError, match="SystemExit"):
        asyncio.run(service.embed(REQUEST))
    assert failed.wait(2) == (policy == "exit")
    assert service.exit_status == status
    assert service.close()
