"""What is seen of a model while it is loaded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from farthing.cli.common.loading import SHOWN_AFTER_S, loading, say_rounded
from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model, shape_of_config
from farthing.engine.plan.choose import make_plan
from farthing.engine.plan.device import DeviceFacts
from farthing.engine.weights.load import load_weights
from farthing.models.synth.checkpoint import SHAPES


@pytest.mark.parametrize("residency", ["resident", "disk"])
def test_each_layer_is_told_when_it_is_loaded(tiny_qwen3: Path, residency: str) -> None:
    description = describe_model(tiny_qwen3, EngineSettings(device="cpu", residency=residency))
    told: list[tuple[int, int]] = []
    load_weights(description, lambda done, layers: told.append((done, layers)))
    num = description.layout.num_layers
    assert told == ([(done, num) for done in range(1, num + 1)] if residency == "resident" else [])


def test_a_bar_is_drawn_of_what_takes_its_time_and_only_where_it_is_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for shown, wait_s, is_seen in ((True, SHOWN_AFTER_S + 0.2, True), (True, 0, False), (None, SHOWN_AFTER_S, False)):
        with loading("a-model", shown=shown) as on_layer:
            on_layer(1, 4)
            time.sleep(wait_s)
            on_layer(2, 4)
        assert ("Loading a-model:  50%" in capsys.readouterr().err) is is_seen


def test_weights_that_were_rounded_to_fit_are_told_and_those_that_were_asked_for_are_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    facts = DeviceFacts("cpu", "a CPU", 2**36, 2**36, False, False, num_threads=2, has_native=True)
    model = shape_of_config(SHAPES["qwen3-0.6b"].config())
    for chosen, is_told in (({}, True), ({"format": "int8"}, False), ({"format": "none"}, False)):
        say_rounded(make_plan(EngineSettings(memory="1150MiB", **chosen), facts, model))  # type: ignore[arg-type]
        told = "Weights in int8, which rounds the weights, because no exact format fits 1,150 MiB" in (
            capsys.readouterr().err
        )
        assert told is is_told
    say_rounded(None)
