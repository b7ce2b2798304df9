from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from farthing import Embedder
from farthing.engine.swappable import LiveModel
from farthing.serving.request import NOT_TIMED, EmbedRequest, Timings, mean_timings


def test_the_mean_is_of_texts() -> None:
    assert mean_timings([(1, Timings(1.0, 2.0, 3.0)), (3, Timings(5.0, 6.0, 7.0))]) == Timings(4.0, 5.0, 6.0)
    assert mean_timings([]) == NOT_TIMED


@pytest.mark.parametrize("num_texts", [1, 600])
def test_a_result_says_how_long_each_stage_took(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch, num_texts: int
) -> None:
    real = LiveModel.run

    def slow(self: LiveModel, *args: Any) -> Any:
        time.sleep(0.05)
        return real(self, *args)

    with Embedder(str(tiny_qwen3)) as embedder:
        monkeypatch.setattr(LiveModel, "run", slow)
        started = time.perf_counter()
        timings = embedder.embed(EmbedRequest([f"text {index}" for index in range(num_texts)])).timings
        total = time.perf_counter() - started
        assert timings.tokenize_s > 0
        assert 0.05 <= timings.compute_s <= total
        assert timings.tokenize_s + timings.queue_s + timings.compute_s <= total
        assert embedder.embed(EmbedRequest([])).timings == NOT_TIMED
