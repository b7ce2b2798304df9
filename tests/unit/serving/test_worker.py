"""A caller who alone waits for a short text runs it itself; everybody else is served by the worker's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import wait_for
from queueing import Queue, job

from farthing import Embedder
from farthing.core.errors import BatchFailedError, ClosedError, WorkerDiedError
from farthing.engine.runner import BatchOutput
from farthing.serving.queue.estimates import Size
from farthing.serving.queue.scheduler import BatchLimits
from farthing.serving.queue.token_budget import TokenBudget
from farthing.serving.stats import StatsCounter
from farthing.serving.worker import Worker

SIZE = Size(1, 5)
WAIT_S = 20.0


class Runner:
    """Answers every text with its length; `before` may do something else first."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self.before: Callable[[], object] = lambda: None

    def run(self, texts: Sequence[Sequence[int]], per_token: bool = False) -> BatchOutput:  # noqa: ARG002
        self.threads.append(threading.get_ident())
        self.before()
        rows = np.array([[len(text)] for text in texts], dtype=np.float32)
        return BatchOutput(rows, {}, 0, "weights", (1,) * len(rows))


class Served:
    """A worker that waits for work, with its queue and its runner."""

    def __init__(self) -> None:
        self.queue, self.runner = Queue(BatchLimits(100, 10)), Runner()
        self.worker = Worker(
            self.runner, self.queue, StatsCounter(), TokenBudget(self.queue), restart=True, restart_pause_s=0.05
        )
        self.wait()

    def wait(self) -> None:
        wait_for(lambda: self.queue._worker_waits, WAIT_S)

    def submit(self, may_run: bool = True) -> tuple[Any, Any]:
        """A job of one text of five tokens, and the batch that the caller is to run."""
        one = job(5)
        return one, self.queue.submit(one, self.queue.admit(SIZE), 1, may_run=may_run)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.worker.close()


def rows(one: Any) -> list[list[float]]:
    found: list[list[float]] = one.future.result(WAIT_S).rows.tolist()
    return found


def test_a_caller_alone_is_given_its_batch(served: Served) -> None:
    for _ in range(3):
        one, batch = served.submit()
        served.worker.run_for_caller(batch)
        assert rows(one) == [[5]]
    assert set(served.runner.threads) == {threading.get_ident()}
    assert served.queue.stats().queue_waits_total == 3


def test_a_caller_who_does_other_things_meanwhile_is_not(served: Served) -> None:
    one, batch = served.submit(may_run=False)
    assert batch is None
    assert rows(one) == [[5]]
    assert served.runner.threads != [threading.get_ident()]


def test_others_wait_until_the_callers_batch_is_done(served: Served) -> None:
    first, batch = served.submit()
    others = [served.submit() for _ in range(4)]
    assert [batch for _, batch in others] == [None] * 4
    assert not any(one.future.done() for one, _ in others)
    served.worker.run_for_caller(batch)
    assert [rows(one) for one, _ in [(first, None), *others]] == [[[5]]] * 5
    assert len(served.runner.threads) == 2  # the others were one batch
    served.wait()
    last, batch = served.submit()
    served.worker.run_for_caller(batch)
    assert rows(last) == [[5]]


def test_what_kills_the_callers_batch_kills_the_worker_which_begins_again(served: Served) -> None:
    def die() -> None:
        raise SystemExit("out of order")

    one, batch = served.submit()
    served.runner.before = die
    served.worker.run_for_caller(batch)
    with pytest.raises(WorkerDiedError):
        rows(one)
    served.runner.before = lambda: None
    wait_for(lambda: served.worker.health.ready, WAIT_S)
    served.wait()
    two, batch = served.submit()
    served.worker.run_for_caller(batch)
    assert rows(two) == [[5]]


def test_a_batch_that_raises_fails_alone(served: Served) -> None:
    def fail() -> None:
        raise ValueError("no such thing")

    one, batch = served.submit()
    served.runner.before = fail
    served.worker.run_for_caller(batch)
    with pytest.raises(BatchFailedError):
        rows(one)
    assert served.worker.health.ready


def test_ctrl_c_is_the_callers_alone(served: Served) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    one, batch = served.submit()
    served.runner.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        served.worker.run_for_caller(batch)
    served.runner.before = lambda: None
    with pytest.raises(BatchFailedError):
        rows(one)
    served.wait()
    two, _ = served.submit(may_run=False)
    assert rows(two) == [[5]]


def test_closing_waits_for_the_callers_batch() -> None:
    served = Served()
    one, batch = served.submit()
    closing = threading.Thread(target=served.worker.close)
    closing.start()
    wait_for(lambda: isinstance(served.queue._refusal, ClosedError), WAIT_S)
    assert closing.is_alive()
    served.worker.run_for_caller(batch)
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert rows(one) == [[5]]


def test_an_embedder_computes_one_short_text_on_the_thread_that_asks(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Embedder(str(tiny_qwen3)) as embedder:
        run_for_caller, times = embedder._worker.run_for_caller, []

        def counted(batch: Any) -> None:
            times.append(len(batch.texts))
            run_for_caller(batch)

        monkeypatch.setattr(embedder._pipeline, "_run_here", counted)
        wait_for(lambda: embedder._scheduler._worker_waits, WAIT_S)
        alone = embedder.encode("a short text")
        assert times == [1]
        long = embedder.encode(["a short text", "another one " * 1000])
        many = embedder.encode(["a short text"] * 600)
        assert times == [1]
    for vector in (long[0], many[0], many[-1]):
        np.testing.assert_allclose(vector, alone, atol=1e-6)
