"""A model in int8 is rounded once, into the cache, and mapped from there ever after."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing import Embedder
from farthing.checkpoint.manifest import FILE
from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_weights
from farthing.serving.quantising import prepared as module
from farthing.serving.quantising.prepared import folder_of, prepared

TEXTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 60]]


@pytest.fixture
def source(tmp_path: Path) -> SourceSettings:
    return SourceSettings(cache_dir=str(tmp_path / "cache"))


def opened(path: Path, source: SourceSettings, told: Any = None, **settings: Any) -> ModelDescription:
    engine = EngineSettings(device="cpu", num_threads=1, **settings)
    on_step: Callable[[str, int, int], object] = told.append_step if told else lambda *_: None
    return prepared("a model", describe_model(path, engine), engine, source, "embed", on_step)


def rows(description: ModelDescription) -> np.ndarray:
    return Runner(load_weights(description)).run(TEXTS).rows


class Told:
    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def append_step(self, *step: Any) -> None:
        self.steps.append(step)


def folders(source: SourceSettings) -> list[Path]:
    assert source.cache_dir is not None
    return [path for path in (Path(source.cache_dir) / module.FOLDER).iterdir() if path.is_dir()]


def test_the_first_start_makes_a_folder_and_the_second_maps_it(tiny_qwen3: Path, source: SourceSettings) -> None:
    told = Told()
    first = opened(tiny_qwen3, source, told)
    (folder,) = folders(source)
    assert first.path == folder
    assert {what for what, _, _ in told.steps} == {
        "Rounding a model to int8, once", "Measuring how close a model is in int8",
    }  # fmt: skip
    assert all(0 <= done <= total for _, done, total in told.steps)
    written = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    again = Told()
    second = opened(tiny_qwen3, source, again)
    assert again.steps == []
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == written
    assert first.manifest is not None
    assert first.manifest.closeness is not None
    assert first.plan.format.name == second.plan.format.name == "int8"
    assert np.array_equal(rows(first), rows(second))


@pytest.mark.parametrize("name", ["int8", "nf4"])
def test_vectors_and_space_are_those_of_rounding_in_memory(tiny_qwen3: Path, source: SourceSettings, name: str) -> None:
    in_memory = describe_model(tiny_qwen3, EngineSettings(device="cpu", format=name, num_threads=1))
    stored = opened(tiny_qwen3, source, format=name)
    assert np.array_equal(rows(stored), rows(in_memory))
    assert load_weights(stored).fingerprint == load_weights(in_memory).fingerprint


@pytest.mark.parametrize("settings", [{"format": "fp32"}, {"format": "bf16"}, {"format": "none"}])
def test_exact_formats_need_no_folder(tiny_qwen3: Path, source: SourceSettings, settings: dict[str, str]) -> None:
    assert opened(tiny_qwen3, source, **settings).path == tiny_qwen3
    assert source.cache_dir is not None
    assert not Path(source.cache_dir).exists()


@pytest.fixture
def real(tiny_qwen3: Path, tmp_path: Path) -> Path:
    """A model that does not say that its weights are random, so that the floor holds for it."""
    path = shutil.copytree(tiny_qwen3, tmp_path / "real")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "farthing_synthetic"}))
    return path


def test_a_model_that_would_be_under_the_floor_stays_exact_and_is_not_rounded_again(
    real: Path, source: SourceSettings, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        told = Told()
        description = opened(real, source, told, min_fidelity=1.0)
        assert (description.path, description.plan.format.name) == (real, "fp32")
        assert (
            "a model stays exact: in int8 its vectors would be too far from the exact ones (mean cosine " in caplog.text
        )
    assert told.steps == []


def test_a_format_that_was_asked_for_is_refused_under_the_floor_with_the_figures(
    real: Path, source: SourceSettings
) -> None:
    with pytest.raises(SettingsError, match=r"has a mean cosine of 0\.\d+ to the exact model"):
        opened(real, source, format="int8", min_fidelity=1.0)


def test_where_nothing_can_be_written_weights_are_rounded_in_memory(
    tiny_qwen3: Path, source: SourceSettings, caplog: pytest.LogCaptureFixture
) -> None:
    assert source.cache_dir is not None
    Path(source.cache_dir).write_text("a file, and no folder")
    description = opened(tiny_qwen3, source)
    assert (description.path, description.plan.format.name) == (tiny_qwen3, "int8")
    assert "a model is rounded to int8 in memory, at every start: " in caplog.text
    with pytest.raises(SettingsError, match="cannot be written to the cache") as caught:
        opened(tiny_qwen3, source, residency="disk")
    assert caught.value.param == "cache_dir"


def test_a_disk_without_room_is_said(
    tiny_qwen3: Path, source: SourceSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**20))
    assert opened(tiny_qwen3, source).path == tiny_qwen3
    assert "has room for 1 MiB, and " in caplog.text


def test_layers_are_read_from_the_prepared_folder_for_each_batch(tiny_qwen3: Path, source: SourceSettings) -> None:
    streamed = opened(tiny_qwen3, source, residency="disk")
    assert streamed.plan.residency == "disk"
    assert np.array_equal(rows(streamed), rows(opened(tiny_qwen3, source)))


def test_a_damaged_folder_is_made_again(tiny_qwen3: Path, source: SourceSettings) -> None:
    want = rows(opened(tiny_qwen3, source))
    (folder,) = folders(source)
    (folder / FILE).write_text("{")
    assert np.array_equal(rows(opened(tiny_qwen3, source)), want)


def test_who_comes_second_waits_for_the_first(
    tiny_qwen3: Path, source: SourceSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WAIT_SAID_S", 0.1)
    writes, real_write = list[Path](), module.write

    def slow_write(model: str, description: ModelDescription, folder: Path, *rest: Any) -> None:
        writes.append(folder)
        real_write(model, description, folder, *rest)

    monkeypatch.setattr(module, "write", slow_write)
    found: list[Path] = []
    both = [threading.Thread(target=lambda: found.append(opened(tiny_qwen3, source).path)) for _ in range(2)]
    with caplog.at_level(logging.INFO):
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    assert len(writes) == 1
    assert found == [writes[0]] * 2


def test_a_reranker_is_prepared_for_scoring(tiny_reranker: Path, source: SourceSettings) -> None:
    engine = EngineSettings(device="cpu", num_threads=1)
    description = describe_model(tiny_reranker, engine, "rerank")
    folder = prepared("a model", description, engine, source, "rerank")
    assert folder.head is not None
    assert folder.path == folder_of(description, source, "rerank")


def test_an_embedder_says_what_it_runs(tiny_qwen3: Path, tmp_path: Path) -> None:
    with Embedder(str(tiny_qwen3), cache_dir=str(tmp_path / "cache")) as embedder:
        facts = embedder.facts()
    assert facts["format"] == "int8, computed in int8"
    assert facts["closeness"].startswith("mean cosine 0.9")
