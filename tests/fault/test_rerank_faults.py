"""Whatever breaks between a caller and its scores, every caller gets an answer or a typed error."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from farthing import Reranker
from farthing.core.errors import BatchFailedError, NonFiniteError, WorkerDiedError
from farthing.core.settings import EngineSettings, ServingSettings
from farthing.engine.runner import BatchOutput
from farthing.engine.swappable import LiveModel
from farthing.engine.weights.load import load_model

Texts = Sequence[Sequence[int]]


class Faulty:
    """The real model; a pair that holds a Z raises `error`, or has no logit where that is a `NonFiniteError`."""

    def __init__(self, live: LiveModel) -> None:
        self._live = live
        self.error: BaseException | None = None

    def run(self, texts: Texts, per_token: bool = False) -> BatchOutput:
        bad = [index for index, text in enumerate(texts) if ord("Z") in text]
        if bad and self.error is not None and not isinstance(self.error, NonFiniteError):
            raise self.error
        output = self._live.run(texts, per_token)
        if bad and isinstance(self.error, NonFiniteError):
            output.errors.update(dict.fromkeys(bad, self.error))
        return output


@pytest.fixture
def faulty(tiny_reranker: Path) -> tuple[Reranker, Faulty]:
    live = LiveModel(load_model(tiny_reranker, EngineSettings(format="fp32"), "rerank"))
    runner = Faulty(live)
    return Reranker.assemble("tiny", "test", live, ServingSettings(), runner=runner), runner


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (RuntimeError("poison"), BatchFailedError),
        (NonFiniteError("NaN"), NonFiniteError),
    ],
)
def test_a_pair_that_fails_fails_its_own_caller_alone(
    faulty: tuple[Reranker, Faulty], error: BaseException, answer: type[Exception]
) -> None:
    reranker, runner = faulty
    runner.error = error
    with reranker, ThreadPoolExecutor(9) as pool:
        good = [pool.submit(reranker.rank, "query", [f"document {number}", "other"]) for number in range(8)]
        bad = pool.submit(reranker.rank, "query", ["fine", "Z"])
        with pytest.raises(answer):
            bad.result(timeout=60)
        assert all(len(future.result(timeout=60)) == 2 for future in good)


def test_a_worker_that_dies_answers_everyone(faulty: tuple[Reranker, Faulty]) -> None:
    reranker, runner = faulty
    runner.error = SystemExit("the driver is gone")
    with reranker, ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(reranker.rank, "query", ["Z", f"document {number}"]) for number in range(8)]
        done, waiting = wait(futures, timeout=60)
        assert not waiting
        for future in done:
            with pytest.raises(WorkerDiedError):
                future.result()
