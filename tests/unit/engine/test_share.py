from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.core.errors import DoesNotFitError
from farthing.core.settings import EngineSettings
from farthing.engine.choose import make_plan
from farthing.engine.describe import shape_of_config
from farthing.engine.device import DeviceFacts
from farthing.engine.share import Sharer, parts, share_memory
from farthing.models.synth import SHAPES

GB = 10**9
CPU = DeviceFacts("cpu", "AMD EPYC", 64 * GB, 60 * GB, False, False, num_threads=2, has_native=True)
CARD = DeviceFacts("cuda:0", "A100", 80 * GB, 79 * GB, True, True, num_threads=8, has_native=True)
MODELS = {name: shape_of_config(SHAPES[name].config()) for name in ("qwen3-0.6b", "qwen3-8b")}
models = st.sampled_from(list(MODELS.values()))


def sharers(first: Any, second: Any, **chosen: Any) -> tuple[Sharer, Sharer]:
    return Sharer("judge", first, EngineSettings(**chosen)), Sharer("embedder", second, EngineSettings(**chosen))


@settings(max_examples=40, deadline=None)
@given(models, models, st.integers(3 * 10**8, 60 * GB), st.sampled_from([CPU, CARD]))
def test_both_plans_stay_inside_the_budget_together(first: Any, second: Any, budget: int, facts: Any) -> None:
    one, other = sharers(first, second)
    try:
        mine, rest = share_memory(one, other, facts, budget)
    except DoesNotFitError:
        return
    a, b = make_plan(mine, facts, first), make_plan(rest, facts, second)
    assert a.ledger.own_bytes(a.main_place) + b.ledger.total(b.main_place) <= budget


def test_two_models_of_one_size_are_run_alike() -> None:
    small = MODELS["qwen3-0.6b"]
    one, other = sharers(small, small)
    for budget, residency in ((12 * GB, "resident"), (3 * GB, "disk")):
        plans = [make_plan(own, CPU, small) for own in share_memory(one, other, CPU, budget)]
        assert [(plan.format.name, plan.residency) for plan in plans] == [("fp32", residency)] * 2


def test_where_proportion_does_not_fit_another_part_is_found() -> None:
    """A small model's batches take more than its part of the weights."""
    small = replace(MODELS["qwen3-0.6b"], max_tokens=2048)
    one, other = sharers(small, MODELS["qwen3-8b"], max_batch_tokens=8192, context_length=2048)
    budgets = [budget for budget in range(8 * GB, 12 * GB, GB // 4) if fits(one, other, budget)]
    assert budgets
    least = min(budgets)
    part = one.num_weights / (one.num_weights + other.num_weights)
    with pytest.raises(DoesNotFitError):
        make_plan(replace(one.settings, memory=f"{int(part * least)}B", format="int8"), CPU, small)


def fits(one: Sharer, other: Sharer, budget: int) -> bool:
    try:
        share_memory(one, other, CPU, budget)
    except DoesNotFitError:
        return False
    return True


def test_what_does_not_fit_names_both_models() -> None:
    one, other = sharers(MODELS["qwen3-0.6b"], MODELS["qwen3-0.6b"])
    with pytest.raises(DoesNotFitError, match="embedder and judge do not fit 477 MiB together"):
        share_memory(one, other, CPU, 500 * 10**6)


def test_parts_begin_with_the_wanted_one_and_go_away_from_it() -> None:
    found = list(parts(0.31))
    assert found[:4] == [0.31, pytest.approx(0.3), pytest.approx(0.35), pytest.approx(0.25)]
    assert all(0 < part < 1 for part in found)
