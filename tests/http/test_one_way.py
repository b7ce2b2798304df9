"""The way of one request through the server: nothing on it is done twice."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest

import farthing
from farthing.core.settings import CacheSettings, EngineSettings, ServingSettings, SourceSettings
from farthing.serving.embedder import Embedder

SOURCE = str(Path(farthing.__file__).parent)
ROUTE, NATIVE = "server/dialects/openai/routes.py create_embeddings", "quant/native/binding.py run"
# Every call counts, properties and one-line functions included, in all threads until the first layer begins.
MOST_CALLS = 245
TEXTS = ["a text that nobody has sent before"]


class Trace:
    """Our own functions in the order in which they are called, in all threads that start after it. What a comprehension
    or a generator does counts for the function that holds it, and a coroutine counts once, however often it waits."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._frames: list[FrameType] | None = None  # held, so that none takes the place of another
        self._seen: set[int] = set()

    def start(self) -> None:
        self._frames = []

    def stop(self) -> None:
        self._frames = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code, frames = frame.f_code, self._frames
        if frames is None or event != "call" or not code.co_filename.startswith(SOURCE):
            return
        if id(frame) in self._seen or code.co_name in ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>"):
            return
        self._seen.add(id(frame))
        frames.append(frame)
        self.calls.append(f"{code.co_filename.removeprefix(SOURCE)[1:]} {code.co_name}")

    @property
    def way(self) -> list[str]:
        """From the route to the first native call."""
        return self.calls[self.calls.index(ROUTE) : self.calls.index(NATIVE) + 1]


@pytest.fixture
def trace(launch_load: Any, starter_dir: Path) -> Iterator[Trace]:
    """Of a request of a new text to MiniLM in int8, with the cache that there is by default."""
    trace = Trace()
    threading.setprofile(trace)

    def load() -> Embedder:
        engine = EngineSettings(format="int8")
        return Embedder.from_settings(str(starter_dir), SourceSettings(), engine, ServingSettings())

    try:
        with launch_load(load, cache=CacheSettings()) as running, httpx.Client(base_url=running.url) as client:
            for texts in (["first"], TEXTS):
                if texts is TEXTS:
                    trace.start()
                assert client.post("/v1/embeddings", json={"input": texts, "model": "test-model"}).status_code == 200
            trace.stop()
            yield trace
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
        sys.setprofile(None)


def test_a_request_goes_one_way(trace: Trace) -> None:
    calls = Counter(trace.calls)
    assert calls["serving/text/clean.py clean_input"] == len(TEXTS)
    assert calls["serving/cache/entry.py key"] == len(TEXTS)
    assert calls["serving/text/prompts.py prompt_prefix"] == 1
    assert calls["server/models/directory.py find"] == 1
    assert calls["serving/cache/memory.py get"] == 1
    assert len(trace.way) <= MOST_CALLS, "\n".join(trace.way)
