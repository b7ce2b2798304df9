from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from farthing.core.settings import EngineSettings, SourceSettings
from farthing.engine.describe import ModelDescription, describe_model, shape_of_config
from farthing.engine.ladder import Rung, make_rungs
from farthing.engine.plan.choose import make_plan
from farthing.engine.plan.device import DeviceFacts
from farthing.models.families import family_of
from farthing.models.synth.checkpoint import SHAPES, find_shape, write_synthetic
from farthing.serving.quantising.quantise import quantise_model

GIB = 2**30
A100 = DeviceFacts("cuda:0", "A100", 80 * GIB, 79 * GIB, True, True, num_threads=8)
CPU = DeviceFacts("cpu", "AMD EPYC", 64 * GIB, 60 * GIB, False, False, num_threads=2)


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers enough for one of them to be little."""
    path = tmp_path_factory.mktemp("models") / "deep"
    write_synthetic(replace(find_shape("qwen3-tiny"), num_layers=24), path)
    return path


def rungs(path: Path, may_round: bool = True, **chosen: Any) -> tuple[ModelDescription, tuple[Rung, ...]]:
    settings = EngineSettings(device="cpu", **chosen)
    description = describe_model(path, settings)
    return description, make_rungs(description, settings, CPU, may_round=may_round)


def test_the_first_rung_is_the_plan_and_the_second_has_smaller_batches_alone(tiny_qwen3: Path) -> None:
    description, (first, second, *_) = rungs(tiny_qwen3, format="none")
    assert first.plan is description.plan
    assert second.plan.max_batch_tokens == first.plan.max_batch_tokens // 4
    assert (second.plan.format, second.plan.residency) == (first.plan.format, first.plan.residency)


@pytest.mark.parametrize("residency", ["auto", "resident"])
@pytest.mark.parametrize("format", ["auto", "none", "fp32", "int8", "nf4"])
def test_each_step_holds_less_and_steps_that_change_vectors_come_last(
    tiny_qwen3: Path, residency: str, format: str
) -> None:
    _, found = rungs(tiny_qwen3, residency=residency, format=format)
    sizes = [rung.num_bytes for rung in found]
    assert sizes[1] <= sizes[0]
    assert all(lower < upper for upper, lower in itertools.pairwise(sizes[1:]))
    keeps = [rung.keeps_vectors for rung in found]
    assert keeps == sorted(keeps, reverse=True)


def test_a_model_that_is_kept_exact_is_not_taken_for_exact_when_it_is_rounded_later(tiny_qwen3: Path) -> None:
    """As where the CPU's usual format would round the model too much."""
    exact = describe_model(tiny_qwen3, EngineSettings(device="cpu", format="none"))
    found = make_rungs(exact, EngineSettings(device="cpu"), CPU, may_round=True)
    assert not exact.plan.format.quantises
    assert any(rung.plan.format.quantises for rung in found)
    assert all(rung.keeps_vectors is not rung.plan.format.quantises for rung in found)


def test_settings_that_were_given_stay_as_they_are(tiny_qwen3: Path) -> None:
    _, found = rungs(tiny_qwen3, residency="resident", format="fp32")
    assert [rung.name for rung in found] == ["as planned", "smaller batches"]


@pytest.mark.parametrize(("chosen", "may_round", "rounded"), [
    ({}, True, ["int8", "nf4"]), ({}, False, []), ({"format": "none"}, True, []),
])  # fmt: skip
def test_weights_are_rounded_only_where_the_caller_is_told(
    deep: Path, chosen: dict[str, str], may_round: bool, rounded: list[str]
) -> None:
    settings = EngineSettings(residency="resident", **chosen)
    description = describe_model(deep, EngineSettings(device="cpu"))
    description = description.with_plan(make_plan(settings, A100, description.shape))
    found = make_rungs(description, settings, A100, may_round=may_round)
    assert [rung.plan.format.name for rung in found if not rung.keeps_vectors] == rounded


def test_a_folder_of_quantised_weights_can_be_read_from_disk(deep: Path, tmp_path: Path) -> None:
    quantise_model(str(deep), tmp_path / "out", SourceSettings(), format="int8", measure=False)
    _, found = rungs(tmp_path / "out")
    assert [(rung.plan.format.name, rung.plan.residency) for rung in found[2:]] == [("int8", "disk")]
    assert all(rung.keeps_vectors for rung in found)


WIDENED = ["fp32 resident", "fp32 resident", "bf16 resident", "bf16 disk"]


@pytest.mark.parametrize(
    ("shape", "facts", "names"),
    [
        ("qwen3-0.6b", CPU, WIDENED),
        ("qwen3-4b", CPU, WIDENED),
        ("qwen3-8b", CPU, WIDENED),
        ("qwen3-4b", A100, ["bf16 resident", "bf16 resident", "bf16 host"]),
    ],
)
def test_the_ladder_of_the_true_shapes(tiny_qwen3: Path, shape: str, facts: DeviceFacts, names: list[str]) -> None:
    settings, config = EngineSettings(format="none"), SHAPES[shape].config()
    family, model = family_of(config), shape_of_config(config)
    plan = make_plan(settings, facts, model)
    tiny = describe_model(tiny_qwen3, settings)
    description = replace(tiny, spec=model.spec, layout=family.layout(model.spec), plan=plan)
    found = make_rungs(description, settings, facts, may_round=True)
    assert [f"{rung.plan.format.name} {rung.plan.residency}" for rung in found] == names
