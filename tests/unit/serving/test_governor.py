"""When steps are taken, with a simulated meter and clock. That the steps work is shown under load in tests/fault."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from farthing.core.settings import EngineSettings
from farthing.engine.ladder import Rung, make_rungs
from farthing.engine.meter import MemoryReading
from farthing.engine.plan.device import device_facts
from farthing.engine.swappable import LiveModel
from farthing.engine.weights.load import load_model
from farthing.serving.governor import FALLBACK, REFUSED, Governor, Thresholds
from farthing.serving.queue.scheduler import BatchLimits, Scheduler
from farthing.serving.queue.token_budget import TokenBudget

MIB = 2**20
THRESHOLDS = Thresholds(high=0.9, low=0.75, settle_s=2, relief_s=10)


@dataclass
class Simulated:
    """A meter that says what a test sets, of 1,000 MiB."""

    level: float = 0.5
    stalled: float = 0.0
    place: str = "host"
    others: list[MemoryReading] = field(default_factory=list)

    def read(self) -> Sequence[MemoryReading]:
        return [MemoryReading(self.place, int(self.level * 1000 * MIB), 1000 * MIB, self.stalled), *self.others]


class Governed:
    """A governor whose clock is set by hand."""

    def __init__(self, live: LiveModel, rungs: Sequence[Rung], *, has_fallback: bool = False) -> None:
        self.meter, self.moves, self.usable = Simulated(), list[str](), True
        self.scheduler = Scheduler(BatchLimits(live.plan.max_batch_tokens, 512))
        self.now_s = 0.0
        budget = TokenBudget(self.scheduler)
        self.governor = Governor(live, rungs, budget, self.meter, self._move, THRESHOLDS, has_fallback=has_fallback)

    def _move(self, rung: Rung) -> bool:
        self.moves.append(rung.name)
        return self.usable or rung.keeps_vectors

    def wait(self, seconds: float) -> str:
        """Let time pass, with a reading twice a second; the step at the end."""
        for _ in range(round(2 * seconds)):
            self.now_s += 0.5
            self.governor.tick(self.now_s)
        return self.governor.state().name


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Looks only at what is new, as in a server: other tests leave so much that a look at all takes seconds."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def live(tiny_qwen3: Path) -> LiveModel:
    return LiveModel(load_model(tiny_qwen3, EngineSettings(device="cpu")))


@pytest.fixture
def governed(live: LiveModel) -> Governed:
    return Governed(live, all_rungs(live), has_fallback=True)


def all_rungs(live: LiveModel) -> tuple[Rung, ...]:
    settings = EngineSettings(device="cpu", residency="resident")
    rungs = make_rungs(live.description, settings, device_facts("cpu"), may_round=True)
    assert [rung.name for rung in rungs][:2] == ["as planned", "smaller batches"]
    assert rungs[-1].name == "weights rounded"
    return rungs


def test_nothing_happens_while_there_is_memory(governed: Governed) -> None:
    governed.meter.level = 0.89
    assert governed.wait(60) == "as planned"
    assert governed.moves == []


def test_short_memory_takes_one_step_at_a_time_down_to_refusing_work(governed: Governed) -> None:
    governed.meter.level = 0.95
    seen = [governed.wait(0.5)]
    while seen[-1] != REFUSED:
        seen.append(governed.wait(2))
        assert len(seen) < 20
    assert seen[0] == "smaller batches"
    assert seen[-2:] == [FALLBACK, REFUSED]
    state = governed.governor.state()
    assert (state.answers_by_fallback, state.refuses) == (True, True)
    assert state.steps_down_total == state.step == len(seen)
    assert governed.wait(60) == REFUSED


@pytest.mark.parametrize("place", ["host", "budget"])
def test_what_requests_hold_is_no_reason_for_a_step_that_others_see(governed: Governed, place: str) -> None:
    held_bytes = [0]
    governed.governor.count_requests(lambda: held_bytes[0])
    governed.meter.place = place
    governed.meter.level, held_bytes[0] = 1.05, 300 * MIB
    assert governed.wait(60) in ("smaller batches", "weights as stored", "layers fetched")
    state = governed.governor.state()
    assert (state.answers_by_fallback, state.refuses) == (False, False)
    assert "weights rounded" not in governed.moves
    held_bytes[0] = 20 * MIB  # of 50 MiB that are too many: others took them
    assert governed.wait(60) == REFUSED


def test_memory_that_is_only_kept_for_later_is_given_back_before_any_step(
    governed: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def release(_: object) -> None:
        governed.meter.level = 0.6

    monkeypatch.setattr("farthing.serving.governor.release_cached", release)
    governed.meter.level = 0.95
    assert governed.wait(60) == "as planned"
    assert governed.governor.state().steps_down_total == 0


def test_a_step_gets_time_to_show_its_effect(governed: Governed) -> None:
    governed.meter.level = 0.95
    assert governed.wait(0.5) == "smaller batches"
    assert governed.wait(1.5) == "smaller batches"
    governed.meter.level = 0.8
    assert governed.wait(60) == "smaller batches"


def test_smaller_batches_reach_the_scheduler_and_go_again(governed: Governed, live: LiveModel) -> None:
    governed.meter.level = 0.95
    governed.wait(0.5)
    assert governed.scheduler.max_tokens == live.plan.max_batch_tokens // 4
    governed.meter.level = 0.3
    governed.wait(12)
    assert governed.scheduler.max_tokens == live.plan.max_batch_tokens


def test_steps_up_wait_for_lasting_room_and_come_one_at_a_time(governed: Governed) -> None:
    governed.meter.level = 0.95
    governed.wait(4.5)
    step = governed.governor.state().step
    assert step == 3
    governed.meter.level = 0.3
    assert governed.wait(10) == governed.governor.state().name
    assert governed.governor.state().step == step
    governed.meter.level = 0.8  # between the marks: neither down nor up, and the wait begins again
    governed.wait(5)
    governed.meter.level = 0.3
    governed.wait(10)
    assert governed.governor.state().step == step
    governed.wait(0.5)
    assert governed.governor.state().step == step - 1
    governed.wait(60)
    assert governed.governor.state().step == 0
    assert governed.governor.state().steps_up_total == step


def test_a_step_up_must_leave_room_for_what_it_takes(live: LiveModel) -> None:
    rungs = all_rungs(live)
    extra = rungs[0].num_bytes - rungs[-1].num_bytes
    governed = Governed(live, rungs)
    governed.meter.level = 0.95
    while governed.governor.state().step < len(rungs) - 1:
        governed.wait(2)
    between = rungs[-2].num_bytes - rungs[-1].num_bytes
    assert 0 < between <= extra
    governed.meter.level = 0.75 - between / (1000 * MIB) + 0.001
    governed.wait(60)
    assert governed.governor.state().step == len(rungs) - 1
    governed.meter.level = 0.75 - between / (1000 * MIB) - 0.001
    governed.wait(12)
    assert governed.governor.state().step == len(rungs) - 2


def test_stalls_bring_the_mark_down_and_forbid_steps_up(governed: Governed) -> None:
    governed.meter.level, governed.meter.stalled = 0.8, 0.2
    assert governed.wait(0.5) == "smaller batches"
    governed.meter.level = 0.1
    assert governed.wait(60) == "smaller batches"
    governed.meter.stalled = 0.0
    assert governed.wait(12) == "as planned"


def test_a_budget_may_be_used_to_its_end_but_not_over_it(governed: Governed) -> None:
    governed.meter.place, governed.meter.level = "budget", 1.0
    assert governed.wait(10) == "as planned"
    governed.meter.level = 1.01
    assert governed.wait(0.5) == "smaller batches"


def test_weights_that_are_not_close_enough_are_skipped_for_good(governed: Governed) -> None:
    governed.usable, governed.meter.level = False, 0.95
    governed.wait(30)
    state = governed.governor.state()
    assert state.refuses
    rounded = governed.moves.count("weights rounded")
    assert rounded == len([rung for rung in governed.governor._rungs if not rung.keeps_vectors])
    governed.meter.level = 0.1
    governed.wait(120)
    governed.meter.level = 0.95
    governed.wait(30)
    assert governed.moves.count("weights rounded") == rounded


def test_a_step_that_fails_is_logged_and_tried_again_later(live: LiveModel, caplog: pytest.LogCaptureFixture) -> None:
    governed = Governed(live, all_rungs(live))
    faults = iter([None, MemoryError("no room"), None])

    def move(rung: Rung) -> bool:
        fault = next(faults)
        if fault is not None:
            raise fault
        return True

    governed.governor._move = move
    governed.meter.level = 0.95
    governed.wait(2)
    with pytest.raises(MemoryError):
        governed.wait(0.5)
    assert governed.governor.state().name == "smaller batches"
    governed.wait(1.5)
    assert governed.governor.state().step == 1, "not at once"
    with caplog.at_level(logging.WARNING):
        governed.wait(0.5)
    assert governed.governor.state().step == 2
    assert "Memory is short (host 950 of 1,000 MiB): smaller batches -> " in caplog.text


def test_layers_go_to_the_host_only_where_it_has_room(live: LiveModel) -> None:
    rungs = all_rungs(live)
    host = replace(rungs[-1], name="layers fetched", keeps_vectors=True, plan=on_host(rungs[-1]))
    governed = Governed(live, [rungs[0], rungs[1], host])
    governed.meter.place, governed.meter.level = "device", 0.95
    governed.meter.others = [MemoryReading("host", 800 * MIB, 1000 * MIB)]
    assert governed.wait(30) == REFUSED
    assert governed.moves == ["smaller batches"]
    roomy = Governed(live, [rungs[0], rungs[1], host])
    roomy.meter.place, roomy.meter.level = "device", 0.95
    roomy.meter.others = [MemoryReading("host", 100 * MIB, 1000 * MIB)]
    roomy.wait(3)
    assert roomy.moves == ["smaller batches", "layers fetched"]


def on_host(rung: Rung) -> object:
    """The rung's plan with 500 MiB more on the host."""
    ledger = rung.plan.ledger
    entry = replace(ledger.entries[0], name="layers", place="host", num_bytes=500 * MIB)
    return replace(rung.plan, ledger=replace(ledger, entries=(*ledger.entries, entry)))


def test_others_that_hold_memory_are_told_each_step(governed: Governed) -> None:
    steps: list[int] = []
    governed.governor.on_step(steps.append)
    governed.meter.level = 0.95
    governed.wait(3)
    assert steps[0] == 1
    governed.meter.level = 0.1
    governed.wait(60)
    assert steps[-1] == 0
