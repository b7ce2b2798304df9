from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.weights.load import load_model
from farthing.models.synth.checkpoint import find_shape, write_synthetic
from farthing.serving.quantising.calibration import (
    MAX_TEXT_TOKENS,
    MAX_TOKENS,
    SAMPLE,
    Calibration,
    CalibrationTexts,
    choose_calibration,
)
from farthing.serving.quantising.closeness import sample_texts, split_sample
from farthing.serving.quantising.quantise import quantise_model

OWN = CalibrationTexts("own.txt", ["A wren sings.", "A farthing is a coin."])


def describe(path: Path, name: str = "nf4") -> ModelDescription:
    return describe_model(path, EngineSettings(format=name, device="cpu", memory="none"))


def test_unasked_nf4_goes_by_a_part_of_the_sample_and_is_measured_on_the_other(tiny_qwen3: Path) -> None:
    chosen = choose_calibration(describe(tiny_qwen3), None, None)
    assert chosen.facts == {
        "texts": SAMPLE,
        "num_texts": len(chosen.tokens),
        "num_tokens": sum(map(len, chosen.tokens)),
    }
    assert len(chosen.tokens) > 100
    assert list(chosen.measured) == split_sample()[1]


def test_with_own_texts_the_whole_sample_is_measured(tiny_qwen3: Path) -> None:
    chosen = choose_calibration(describe(tiny_qwen3), None, OWN)
    assert chosen.facts is not None
    assert (chosen.facts["texts"], chosen.facts["num_texts"]) == ("own.txt", 2)
    assert list(chosen.measured) == sample_texts()


@pytest.mark.parametrize(("name", "calibrate"), [("int8", None), ("fp8", None), ("nf4", False)])
def test_else_nothing_is_calibrated(tiny_qwen3: Path, name: str, calibrate: bool | None) -> None:
    assert choose_calibration(describe(tiny_qwen3, name), calibrate, None) == Calibration()


@pytest.mark.parametrize(
    ("name", "calibrate", "given", "reason"),
    [
        ("int8", True, None, "int8 rounds to nearest alone"),
        ("int8", None, OWN, "int8 rounds to nearest alone"),
        ("nf4", False, OWN, "calibrating is off"),
    ],
)
def test_what_contradicts_itself_is_refused(
    tiny_qwen3: Path, name: str, calibrate: bool | None, given: CalibrationTexts | None, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        choose_calibration(describe(tiny_qwen3, name), calibrate, given)


def test_a_wide_model_is_left_uncalibrated_with_the_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_synthetic(replace(find_shape("qwen3-tiny"), num_layers=1, intermediate=4160), tmp_path)
    with caplog.at_level(logging.WARNING):
        assert choose_calibration(describe(tmp_path), None, None) == Calibration()
    assert "--calibrate does it." in caplog.text
    assert choose_calibration(describe(tmp_path), True, None).tokens


def test_texts_are_cut_so_that_many_are_seen(tiny_qwen3: Path) -> None:
    chosen = choose_calibration(describe(tiny_qwen3), None, CalibrationTexts("long", ["word " * 5000] * 40))
    lengths = list(map(len, chosen.tokens))
    assert set(lengths) == {MAX_TEXT_TOKENS}
    assert sum(lengths) == MAX_TOKENS


def test_each_calibration_is_a_vector_space_of_its_own(tiny_qwen3: Path, tmp_path: Path) -> None:
    def space(name: str, calibrate: bool, given: CalibrationTexts | None = None) -> str:
        folder = tmp_path / name
        options = {"format": "nf4", "measure": False, "calibrate": calibrate, "calibration": given}
        quantise_model(str(tiny_qwen3), folder, SourceSettings(), **options)  # type: ignore[arg-type]
        return load_model(folder, EngineSettings()).fingerprint

    spaces = [space("nearest", False), space("sample", True), space("own", True, OWN)]
    assert spaces[0] == load_model(tiny_qwen3, EngineSettings(format="nf4")).fingerprint
    assert len(set(spaces)) == 3
