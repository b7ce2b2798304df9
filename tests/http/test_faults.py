"""An exception injected at each stage of a request, under many callers at once: each of them gets an answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing.engine.runner import Runner
from farthing.server.dialects.openai import routes as openai
from farthing.serving.queue.scheduler import Scheduler
from farthing.serving.text.prepare import Preparer

NUM_CALLERS = 24


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("injected")


def at_tokenise(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Preparer, "prepare", fail)


def at_batch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scheduler, "_fill", fail)


def at_forward(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Runner, "run", fail)


def at_respond(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(openai, "embeddings_object", fail)


@pytest.mark.parametrize("inject", [at_tokenise, at_batch, at_forward, at_respond])
def test_every_caller_is_answered_and_the_server_recovers(
    inject: Callable[[pytest.MonkeyPatch], None], launch: Any, tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with launch(tiny_qwen3) as running, httpx.Client(base_url=running.url, timeout=30) as client:

        def ask(number: int) -> httpx.Response:
            return client.post("/v1/embeddings", json={"input": [f"caller {number}", "and more"]})

        with monkeypatch.context() as patch:
            inject(patch)
            with ThreadPoolExecutor(NUM_CALLERS) as pool:
                answers = list(pool.map(ask, range(NUM_CALLERS)))
        assert {answer.status_code for answer in answers} <= {500, 503}
        for answer in answers:
            assert answer.json()["error"]["message"]
            assert "injected" not in answer.text

        running.wait_until(lambda: client.get("/health").status_code == 200)
        assert ask(0).status_code == 200
