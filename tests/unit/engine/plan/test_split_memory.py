from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.core.errors import DoesNotFitError, SettingsError
from farthing.core.settings import EngineSettings
from farthing.engine.describe import shape_of_config
from farthing.engine.plan.choose import make_plan
from farthing.engine.plan.device import DeviceFacts
from farthing.engine.plan.split_memory import Sharer, least_bytes, share_memory
from farthing.models.synth.checkpoint import SHAPES
from tiers import examples

GB = 10**9
CPU = DeviceFacts("cpu", "AMD EPYC", 64 * GB, 60 * GB, False, False, num_threads=2)
CARD = DeviceFacts("cuda:0", "A100", 80 * GB, 79 * GB, True, True, num_threads=8)
MODELS = {name: shape_of_config(SHAPES[name].config()) for name in ("qwen3-0.6b", "qwen3-8b")}
SMALL = MODELS["qwen3-0.6b"]
models = st.sampled_from(list(MODELS.values()))


def sharer(name: str, shape: Any, share: float | None = None, **chosen: Any) -> Sharer:
    return Sharer(name, shape, EngineSettings(**chosen), share, "memory" in chosen)


def taken(sharers: list[Sharer], facts: DeviceFacts, budget: int) -> int:
    """What all of them hold together, by their plans."""
    parts = share_memory(sharers, facts, budget)
    plans = [make_plan(part, facts, one.shape) for part, one in zip(parts, sharers, strict=True)]
    own = [plan.ledger.own_bytes(plan.main_place) for plan in plans]
    return sum(own) + max(plan.ledger.total(plan.main_place) - num for plan, num in zip(plans, own, strict=True))


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(models, min_size=2, max_size=4), st.integers(3 * 10**8, 60 * GB), st.sampled_from([CPU, CARD]))
def test_all_plans_stay_inside_the_budget_together(shapes: list[Any], budget: int, facts: DeviceFacts) -> None:
    sharers = [sharer(str(index), shape) for index, shape in enumerate(shapes)]
    try:
        total = taken(sharers, facts, budget)
    except DoesNotFitError:
        return
    assert total <= budget


def test_models_of_one_size_are_run_alike() -> None:
    both = [sharer("judge", SMALL), sharer("embedder", SMALL)]
    for budget, format, residency in (
        (12 * GB, "int8", "resident"), (2 * GB, "int8", "resident"), (6 * 10**8, "int8", "disk")
    ):  # fmt: skip
        plans = [make_plan(own, CPU, SMALL) for own in share_memory(both, CPU, budget)]
        assert [(plan.format.name, plan.residency) for plan in plans] == [(format, residency)] * 2, budget


def test_a_small_model_gets_what_it_needs_though_its_weights_are_few() -> None:
    small = replace(SMALL, max_tokens=2048)
    settled = {"max_batch_tokens": 8192, "context_length": 2048, "format": "int8"}
    one, other = sharer("judge", small, **settled), sharer("embedder", MODELS["qwen3-8b"], **settled)
    least = least_bytes(one, CPU) + least_bytes(other, CPU)
    part = one.num_weights / (one.num_weights + other.num_weights)
    with pytest.raises(DoesNotFitError):
        make_plan(replace(one.settings, memory=f"{int(part * least)}B"), CPU, small)
    assert taken([one, other], CPU, least) <= least


def test_parts_that_were_said_are_kept_and_the_rest_is_shared() -> None:
    sharers = [sharer("a", SMALL, 0.5), sharer("b", SMALL, memory="2GB"), sharer("c", SMALL)]
    a, b, c = (int(part.memory.removesuffix("B")) for part in share_memory(sharers, CPU, 10 * GB))
    assert a == pytest.approx(5 * GB, rel=0.05)
    assert b == 2 * GB
    assert c == pytest.approx(3 * GB, rel=0.2)


def test_parts_that_are_more_than_the_whole_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"more than the 9,537 MiB that there are: a .* b .*"):
        share_memory([sharer("a", SMALL, 0.9), sharer("b", SMALL, memory="2GB")], CPU, 10 * GB)


def test_what_does_not_fit_names_the_models() -> None:
    with pytest.raises(DoesNotFitError, match="judge and embedder do not fit 477 MiB together"):
        share_memory([sharer("judge", SMALL), sharer("embedder", SMALL)], CPU, 500 * 10**6)
