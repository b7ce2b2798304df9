"""What is said of a model while it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from farthing.cli.common.loading import say_rounded
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


def test_weights_that_were_rounded_to_fit_are_told_and_others_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    facts = DeviceFacts("cpu", "a CPU", 2**36, 2**36, False, False, num_threads=2)
    model = shape_of_config(SHAPES["qwen3-0.6b"].config())
    cases = (("600MiB", {}, True), ("600MiB", {"format": "nf4"}, False), ("2GiB", {}, False))
    for memory, chosen, is_told in cases:
        say_rounded(make_plan(EngineSettings(memory=memory, **chosen), facts, model))  # type: ignore[arg-type]
        told = capsys.readouterr().err
        assert ("Weights in nf4, which rounds the weights more, because int8 does not fit 600 MiB" in told) is is_told
    say_rounded(None)
