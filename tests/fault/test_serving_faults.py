"""Whatever breaks between a caller and its vectors, every caller gets an answer or a typed error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.core.errors import BatchFailedError, FarthingError, NonFiniteError, WorkerDiedError
from farthing.core.settings import EngineSettings, ServingSettings
from farthing.engine.runner import BatchOutput
from farthing.engine.swappable import LiveModel
from farthing.engine.weights.load import load_model
from farthing.serving.text.prepare import Prepared, Slice

Texts = Sequence[Sequence[int]]


class Faulty:
    """The real model, with a fault in front of it that can be switched on."""

    def __init__(self, runner: LiveModel) -> None:
        self._runner = runner
        self.fault: Callable[[Texts], None] | None = None

    def run(self, texts: Texts, per_token: bool = False) -> BatchOutput:
        if self.fault is not None:
            self.fault(texts)
        return self._runner.run(texts, per_token)


def open_embedder(path: Path, **serving: object) -> tuple[Embedder, Faulty]:
    live = LiveModel(load_model(path, EngineSettings(format="fp32")))
    runner = Faulty(live)
    return Embedder.assemble("tiny", "test", live, ServingSettings(**serving), runner=runner), runner  # type: ignore[arg-type]


@pytest.fixture
def faulty(tiny_qwen3: Path) -> Iterator[tuple[Embedder, Faulty]]:
    embedder, runner = open_embedder(tiny_qwen3)
    yield embedder, runner
    embedder.close()


def ask_all(embedder: Embedder, num_callers: int) -> list[Future[np.ndarray]]:
    with ThreadPoolExecutor(num_callers) as pool:
        futures = [pool.submit(embedder.encode, f"caller {number}") for number in range(num_callers)]
        done, waiting = wait(futures, timeout=60)
    assert not waiting
    assert len(done) == num_callers
    return futures


def raising(error: BaseException) -> Callable[[Texts], None]:
    def fault(texts: Texts) -> None:
        raise error

    return fault


def test_forward_that_raises_fails_its_batch_and_nothing_else(faulty: tuple[Embedder, Faulty]) -> None:
    embedder, runner = faulty
    before = embedder.encode("caller 0")
    runner.fault = raising(RuntimeError("device-side assert"))
    for future in ask_all(embedder, 16):
        with pytest.raises(BatchFailedError, match="RuntimeError"):
            future.result()
    runner.fault = None
    assert embedder.health().ready
    assert embedder.encode("caller 0") == pytest.approx(before, abs=1e-6)
    assert embedder.stats().failed_batches_total >= 1


def test_poisoned_text_fails_its_own_callers_alone(faulty: tuple[Embedder, Faulty]) -> None:
    embedder, runner = faulty
    poison = ord("Z")

    def fault(texts: Texts) -> None:
        if any(poison in text for text in texts):
            raise RuntimeError("poison")

    runner.fault = fault
    with ThreadPoolExecutor(9) as pool:
        good = [pool.submit(embedder.encode, f"good {number}") for number in range(8)]
        bad = pool.submit(embedder.encode, "Z")
    with pytest.raises(BatchFailedError):
        bad.result()
    assert all(future.result().shape == (64,) for future in good)


def test_row_of_nan_is_an_error_for_its_caller_alone(faulty: tuple[Embedder, Faulty]) -> None:
    embedder, runner = faulty
    real = runner.run

    def with_a_bad_row(texts: Texts, per_token: bool = False) -> BatchOutput:
        output = real(texts, per_token)
        bad = {index: NonFiniteError("NaN") for index, text in enumerate(texts) if ord("Z") in text}
        return BatchOutput(output.rows, bad, 0, output.fingerprint, output.computed)

    runner.run = with_a_bad_row  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        bad, good = pool.submit(embedder.encode, "Z"), pool.submit(embedder.encode, "good")
    with pytest.raises(NonFiniteError):
        bad.result()
    assert good.result().shape == (64,)


def test_tokeniser_that_raises_reaches_its_caller_and_spares_the_others(
    faulty: tuple[Embedder, Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, _ = faulty
    real = embedder._preparer.prepare

    def prepare(part: Slice) -> Prepared:
        if "bad" in part.inputs:
            raise RuntimeError("tokenizer broke")
        return real(part)

    monkeypatch.setattr(embedder._preparer, "prepare", prepare)
    with pytest.raises(RuntimeError, match="tokenizer broke"):
        embedder.encode("bad")
    assert embedder.encode("good").shape == (64,)


def test_forming_a_batch_that_raises_kills_the_worker_which_comes_back(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, _ = open_embedder(tiny_qwen3)
    real, calls = embedder._scheduler._fill, iter(range(100))

    def fill() -> object:
        if next(calls) == 0:
            real()  # texts were taken, then lost
            raise RuntimeError("batching broke")
        return real()

    with embedder:
        monkeypatch.setattr(embedder._scheduler, "_fill", fill)
        for future in ask_all(embedder, 4):
            error = future.exception(timeout=0)
            assert error is None or isinstance(error, WorkerDiedError)
        wait_until(lambda: embedder.health().ready)
        assert embedder.encode("again").shape == (64,)
        assert embedder.stats().worker_deaths_total == 1


def test_dying_worker_answers_everyone_turns_health_down_and_restarts(faulty: tuple[Embedder, Faulty]) -> None:
    embedder, runner = faulty
    release = threading.Event()

    def die(texts: Texts) -> None:
        release.wait(10)
        raise SystemExit("the driver is gone")

    runner.fault = die
    with ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(embedder.encode, f"caller {number}") for number in range(20)]
        wait_until(lambda: embedder.stats().waiting_texts > 10)
        release.set()
        done, waiting = wait(futures, timeout=30)
        assert not waiting
        assert not embedder.health().ready
        assert "SystemExit: the driver is gone" in embedder.health().reason
        runner.fault = None
    for future in done:
        with pytest.raises(WorkerDiedError):
            future.result()
    wait_until(lambda: embedder.health().ready)
    assert embedder.encode("again").shape == (64,)


def test_worker_that_may_not_restart_refuses_at_once(tiny_qwen3: Path) -> None:
    embedder, runner = open_embedder(tiny_qwen3, on_worker_death="exit")
    with embedder:
        runner.fault = raising(SystemExit("gone"))
        with pytest.raises(WorkerDiedError):
            embedder.encode("text")
        time.sleep(1.2)
        assert not embedder.health().ready
        started = time.perf_counter()
        with pytest.raises(WorkerDiedError):
            embedder.encode("text")
        assert time.perf_counter() - started < 1


def test_close_under_load_answers_everyone(tiny_qwen3: Path) -> None:
    embedder, _ = open_embedder(tiny_qwen3)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(embedder.encode, [f"text {number}"] * 300) for number in range(8)]
        time.sleep(0.05)
        embedder.close()
        done, waiting = wait(futures, timeout=60)
    assert not waiting
    for future in done:
        error = future.exception()
        assert error is None or isinstance(error, FarthingError)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
