from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farthing.core.errors import EngineError
from farthing.core.settings import EngineSettings
from farthing.engine import swappable as live_module
from farthing.engine.describe import describe_model
from farthing.engine.plan.plan import Plan
from farthing.engine.swappable import LiveModel
from farthing.engine.weights.load import LoadedModel, load_model

TEXTS = [[1, 2, 3, 4], [5, 6]]


@pytest.fixture
def live(tiny_qwen3: Path) -> LiveModel:
    return LiveModel(load_model(tiny_qwen3, EngineSettings(device="cpu", format="fp32")))


@pytest.fixture
def plan_of(tiny_qwen3: Path) -> Callable[..., Plan]:
    def plan(**chosen: str) -> Plan:
        return describe_model(tiny_qwen3, EngineSettings(device="cpu", **{"format": "fp32", **chosen})).plan  # type: ignore[arg-type]

    return plan


def test_moves_that_keep_the_weights_exact_keep_every_bit(live: LiveModel, plan_of: Callable[..., Plan]) -> None:
    resident = live.run(TEXTS)
    live.move(plan_of(residency="disk"))
    assert live.plan.residency == "disk"
    fetched = live.run(TEXTS)
    np.testing.assert_array_equal(fetched.rows, resident.rows)
    assert fetched.fingerprint == resident.fingerprint


def test_rounded_weights_have_a_fingerprint_of_their_own_until_the_way_back(
    live: LiveModel, plan_of: Callable[..., Plan]
) -> None:
    exact, before = live.run(TEXTS), live.plan
    live.move(plan_of(format="int8"))
    rounded = live.run(TEXTS)
    assert rounded.fingerprint != exact.fingerprint
    assert not np.array_equal(rounded.rows, exact.rows)
    live.move(before)
    np.testing.assert_array_equal(live.run(TEXTS).rows, exact.rows)


def test_smaller_batches_load_nothing(live: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "load_weights", lambda _: pytest.fail("loaded"))
    live.move(replace(live.plan, max_batch_tokens=64))
    assert live.plan.max_batch_tokens == 64


def test_batches_wait_while_the_model_is_moved(
    live: LiveModel, plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, go_on = threading.Event(), threading.Event()
    real = live_module.load_weights

    def load(description: object) -> LoadedModel:
        loading.set()
        assert go_on.wait(10)
        return real(description)  # type: ignore[arg-type]

    monkeypatch.setattr(live_module, "load_weights", load)
    mover = threading.Thread(target=live.move, args=(plan_of(residency="disk"),))
    mover.start()
    assert loading.wait(10)
    done = threading.Event()
    caller = threading.Thread(target=lambda: (live.run(TEXTS), done.set()))
    caller.start()
    assert not done.wait(0.1)
    go_on.set()
    assert done.wait(10)
    mover.join()
    caller.join()


def test_a_move_that_fails_leaves_the_model_as_it_was(
    live: LiveModel, plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, before, real = live.run(TEXTS), live.plan, live_module.load_weights
    faults = iter([MemoryError("first"), None])

    def load(description: object) -> LoadedModel:
        fault = next(faults)
        if fault is not None:
            raise fault
        return real(description)  # type: ignore[arg-type]

    monkeypatch.setattr(live_module, "load_weights", load)
    with pytest.raises(MemoryError, match="first"):
        live.move(plan_of(format="int8"))
    assert live.plan is before
    np.testing.assert_array_equal(live.run(TEXTS).rows, exact.rows)


def test_a_model_that_could_not_be_loaded_again_says_so_and_can_be_later(
    live: LiveModel, plan_of: Callable[..., Plan]
) -> None:
    before = live.plan
    with pytest.MonkeyPatch.context() as patch:

        def load(_: object) -> LoadedModel:
            raise MemoryError

        patch.setattr(live_module, "load_weights", load)
        with pytest.raises(MemoryError):
            live.move(plan_of(format="int8"))
        assert not live.is_loaded
        with pytest.raises(EngineError, match="could not be loaded again"):
            live.run(TEXTS)
    live.move(before)
    assert live.is_loaded
    assert not live.run(TEXTS).errors
