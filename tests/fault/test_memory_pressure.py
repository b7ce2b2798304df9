"""Memory that runs short under load, and real out-of-memory errors: nobody is left waiting, and nothing is wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.core.errors import MemoryShortError, OutOfMemoryError
from farthing.core.settings import EngineSettings, ServingSettings
from farthing.engine import runner as runner_module
from farthing.engine.ladder import Rung, make_rungs
from farthing.engine.meter import MemoryReading
from farthing.engine.plan.device import device_facts
from farthing.engine.plan.ledger import make_ledger
from farthing.engine.swappable import LiveModel
from farthing.engine.weights.load import load_model
from farthing.models.batch.packed import PackedBatch
from farthing.serving.governor import REFUSED, Governor, Mover, Thresholds
from farthing.serving.queue import token_budget
from farthing.serving.request import EmbedRequest, EmbedResult

MIB = 2**20
FAST = Thresholds(high=0.9, low=0.75, interval_s=0.02, settle_s=0.1, relief_s=0.1)
TEXTS = [f"text number {number} " + "word " * (number % 40) for number in range(300)]  # more than a slice


@dataclass
class Simulated:
    """A machine of 10,000 MiB of which others take a part."""

    others: float = 0.0

    def read(self) -> Sequence[MemoryReading]:
        return [MemoryReading("host", int(self.others * 10_000 * MIB), 10_000 * MIB)]


def without_table(rung: Rung, live: LiveModel) -> Rung:
    """The same step without the token table in memory, as the steps that fetch layers: each must take less."""
    plan = replace(rung.plan, keeps_table=False)
    return replace(rung, plan=replace(plan, ledger=make_ledger(live.description.shape, plan)))


def every_rung(live: LiveModel) -> list[Rung]:
    """Steps that fetch layers and steps that round weights: on a CPU a plan has one kind or the other."""
    facts = device_facts("cpu")
    fetched = make_rungs(live.description, EngineSettings(device="cpu", format="none"), facts, may_round=False)
    rounded = make_rungs(live.description, EngineSettings(device="cpu", residency="resident"), facts, may_round=True)
    rungs = [*fetched, *(without_table(rung, live) for rung in rounded if not rung.keeps_vectors)]
    names = list(dict.fromkeys(rung.name for rung in rungs))
    assert {"layers fetched", "weights rounded"} <= set(names)
    return rungs


@contextmanager
def governed(path: Path, meter: Simulated, min_fidelity: float = 0.0) -> Iterator[Embedder]:
    live = LiveModel(load_model(path, EngineSettings(device="cpu", format="none")))
    rungs = every_rung(live)
    with Embedder.assemble(
        "tiny",
        "test",
        live,
        ServingSettings(),
        govern=lambda budget, tokenizer: Governor(
            live, rungs, budget, meter, Mover(live, tokenizer, min_fidelity), FAST, has_fallback=True
        ),
    ) as embedder:
        yield embedder


@dataclass
class Load:
    """Callers that ask again and again until told to stop."""

    embedder: Embedder
    stop: threading.Event = field(default_factory=threading.Event)

    def caller(self, seed: int) -> list[tuple[list[str], EmbedResult | MemoryShortError]]:
        random, found = np.random.default_rng(seed), []
        while not self.stop.is_set():
            count = random.choice([1, 10, 40, 300], p=[0.4, 0.3, 0.25, 0.05])  # 300 are more than a slice
            texts = [TEXTS[place] for place in random.integers(0, len(TEXTS), count)]
            try:
                found.append((texts, self.embedder.embed(EmbedRequest(texts))))
            except MemoryShortError as error:
                found.append((texts, error))
                time.sleep(0.01)
        return found


def step_of(embedder: Embedder) -> str:
    memory = embedder.memory()
    assert memory is not None
    return memory.name


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


def test_all_steps_down_and_up_under_load_lose_no_request_and_mix_no_vectors(tiny_qwen3: Path, in_full: bool) -> None:
    meter, seen, rounds = Simulated(), set[str](), 2 if in_full else 1
    with governed(tiny_qwen3, meter) as embedder:
        exact = dict(zip(TEXTS, embedder.encode(TEXTS), strict=True))
        exact_space, load = embedder.space.id, Load(embedder)
        spaces: dict[str, dict[str, np.ndarray]] = {exact_space: exact}

        def watch() -> bool:
            seen.add(step_of(embedder))
            return True

        with ThreadPoolExecutor(4) as pool:
            callers = [pool.submit(load.caller, seed) for seed in range(4)]
            for others, end in ((0.95, REFUSED), (0.1, "as planned")) * rounds:
                meter.others = others
                wait_until(lambda end=end: watch() and step_of(embedder) == end)  # type: ignore[misc]
            time.sleep(0.2)
            load.stop.set()
            answers = [answer for caller in callers for answer in caller.result(timeout=60)]
        memory = embedder.memory()
        assert embedder.health().ready
        back = embedder.encode(TEXTS[:9])  # other texts share their tokens now: sums in another order
        np.testing.assert_allclose(back, np.array([exact[text] for text in TEXTS[:9]]), atol=1e-5)
    assert memory is not None
    assert {"as planned", "smaller batches", "layers fetched", "weights rounded", REFUSED} <= seen
    assert memory.steps_down_total == memory.steps_up_total > 4 * rounds
    served = [(texts, answer) for texts, answer in answers if isinstance(answer, EmbedResult)]
    assert len(served) > 10
    for texts, answer in served:
        known = spaces.setdefault(answer.space.id, {})
        for text, row in zip(texts, answer.vectors, strict=True):
            np.testing.assert_allclose(row, known.setdefault(text, row), atol=2e-5)
            assert row @ exact[text] > (0.9999 if answer.space.id == exact_space else 0.75)


def test_requests_of_rounded_weights_name_a_space_of_their_own(tiny_qwen3: Path) -> None:
    meter = Simulated(0.95)
    with governed(tiny_qwen3, meter) as embedder:
        exact = embedder.space.id
        wait_until(lambda: step_of(embedder) == REFUSED)
        with pytest.raises(MemoryShortError, match="Try again"):
            embedder.embed(EmbedRequest(["a text"]))
        assert embedder.encode("a text").shape == (64,), "work of this process is still done"
        assert embedder.space.id != exact
        meter.others = 0.1
        wait_until(lambda: step_of(embedder) == "as planned")
        assert embedder.embed(EmbedRequest(["a text"])).space.id == exact


def test_weights_that_would_not_be_close_enough_are_never_used(starter_dir: Path) -> None:
    meter = Simulated(0.95)
    with governed(starter_dir, meter, min_fidelity=0.99999) as embedder:
        exact = embedder.space.id
        wait_until(lambda: step_of(embedder) == REFUSED)
        assert embedder.space.id == exact


class OutOfMemory:
    """The real forward pass, for at most so many tokens at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]) -> None:
        self.max_tokens, self.real = 10**9, runner_module.Runner._forward
        pressure = self

        def forward(runner: object, batch: PackedBatch, **how: bool) -> np.ndarray:
            if batch.num_tokens > pressure.max_tokens:
                raise error()
            return pressure.real(runner, batch, **how)  # type: ignore[arg-type]

        monkeypatch.setattr(runner_module.Runner, "_forward", forward)


def test_a_batch_that_finds_no_memory_is_halved_until_it_does(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressure = OutOfMemory(monkeypatch, MemoryError)
    monkeypatch.setattr(token_budget, "SUCCESSES_TO_DOUBLE", 10**9)  # it would try larger ones again
    with Embedder(str(tiny_qwen3), device="cpu", format="fp32", memory_steps="off") as embedder:
        wanted = embedder.encode(TEXTS)
        pressure.max_tokens = 400
        np.testing.assert_allclose(embedder.encode(TEXTS), wanted, atol=2e-5)
        stats = embedder.stats()
        assert stats.out_of_memory_batches_total > 0
        assert stats.failed_batches_total == 0
        before = stats.out_of_memory_batches_total
        embedder.encode(TEXTS[:64])
        after = embedder.stats().out_of_memory_batches_total - before
        assert after == 0, "the budget was lowered, so that the next batches fit at once"


def test_only_a_text_that_does_not_fit_alone_is_failed(tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pressure = OutOfMemory(monkeypatch, MemoryError)
    with Embedder(str(tiny_qwen3), device="cpu", format="fp32") as embedder:
        pressure.max_tokens = 400
        with ThreadPoolExecutor(9) as pool:
            long = pool.submit(embedder.encode, "word " * 400)
            short = [pool.submit(embedder.encode, text) for text in TEXTS[:8]]
        with pytest.raises(OutOfMemoryError, match=r"A text of .* tokens needs more memory"):
            long.result()
        assert [future.result().shape for future in short] == [(64,)] * 8
        assert embedder.health().ready


def test_other_runtime_errors_are_not_taken_for_missing_memory(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressure = OutOfMemory(monkeypatch, lambda: RuntimeError("shape mismatch"))
    with Embedder(str(tiny_qwen3), device="cpu", format="fp32") as embedder:
        pressure.max_tokens = 0
        with pytest.raises(Exception, match="RuntimeError"):
            embedder.encode("a text")
        assert embedder.stats().out_of_memory_batches_total == 0
