"""What is seen of a model while it is loaded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from farthing.cli.loading import SHOWN_AFTER_S, loading
from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.engine.load import load_weights


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
