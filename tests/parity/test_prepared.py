"""A folder of quantised weights gives the vectors, and the vector space, of quantising while loading."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from farthing import Embedder
from farthing.checkpoint.manifest import FILE, read_manifest
from farthing.core.errors import CheckpointError, SettingsError
from farthing.core.settings import QUANTISED_FORMATS, EngineSettings, SourceSettings
from farthing.engine.native_model import NativeModel
from farthing.engine.runner import Runner
from farthing.engine.weights.load import LoadedModel, load_model
from farthing.serving.quantising.quantise import quantise_model

TEXTS = [[*np.random.default_rng(n).integers(1000, 20_000, n).tolist(), 102] for n in (0, 5, 40)]


def quantise(path: Path, out: Path, name: str = "int8") -> Path:
    quantise_model(str(path), out, SourceSettings(), format=name, measure=False, calibrate=False)
    return out


def rows(path: Path, **settings: Any) -> np.ndarray:
    output = Runner(load_model(path, EngineSettings(**settings))).run(TEXTS)
    assert not output.errors
    return output.rows


@pytest.fixture(scope="module")
def prepared(tiny_qwen3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantise(tiny_qwen3, tmp_path_factory.mktemp("prepared") / "qwen3")


@pytest.fixture
def spoilt(prepared: Path, tmp_path: Path) -> Path:
    """A copy for a test to damage."""
    return shutil.copytree(prepared, tmp_path / "copy")


def refusal(path: Path, error: type[Exception] = CheckpointError, **settings: Any) -> str:
    with pytest.raises(error) as caught:
        load_model(path, EngineSettings(**settings))
    return str(caught.value)


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
@pytest.mark.parametrize("model", ["tiny_qwen3", "starter_dir"])
@pytest.mark.parametrize("name", QUANTISED_FORMATS)
def test_vectors_and_space_are_those_of_quantising_while_loading(
    name: str, model: str, device: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(model)
    folder = quantise(path, tmp_path / name, name)
    now, stored = (
        load_model(place, EngineSettings(format=form, device=device))
        for place, form in ((path, name), (folder, "auto"))
    )
    assert stored.fingerprint == now.fingerprint
    assert stored.fingerprint != load_model(path, EngineSettings(format="fp32")).fingerprint
    assert np.array_equal(Runner(stored).run(TEXTS).rows, Runner(now).run(TEXTS).rows)


def test_the_plan_says_why_it_is_int8(prepared: Path) -> None:
    plan = load_model(prepared, EngineSettings()).plan
    assert (plan.format.name, plan.device) == ("int8", "cpu")
    assert "int8, because the folder holds it" in plan.reasons


def test_packed_blocks_are_used_where_they_are_mapped(prepared: Path) -> None:
    computing = load_model(prepared, EngineSettings(device="cpu")).computing
    assert isinstance(computing, NativeModel)
    weights = next(iter(computing.layers())).weights()
    addresses = [block.ctypes.data for block in (weights.qkv, weights.o, weights.up, weights.down)]
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "model.safetensors" in line]
    spans = [tuple(int(end, 16) for end in words[0].split("-")) for words in maps]
    for address in addresses:
        assert address % 64 == 0
        assert any(start <= address < end for start, end in spans)


def test_a_block_that_is_not_aligned_is_copied(spoilt: Path) -> None:
    before = rows(spoilt)
    file = spoilt / "model.safetensors"
    content = file.read_bytes()
    header = int.from_bytes(content[:8], "little")
    file.write_bytes((header + 8).to_bytes(8, "little") + content[8 : 8 + header] + b" " * 8 + content[8 + header :])
    assert np.array_equal(rows(spoilt), before)


def test_another_format_is_refused_with_what_the_folder_holds(prepared: Path, tiny_qwen3: Path) -> None:
    assert refusal(prepared, SettingsError, format="fp32") == (
        f"format is 'fp32', but {prepared} holds weights quantised to int8. Leave the format out, or load "
        f"{tiny_qwen3} itself."
    )


def drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["layers.1.o.packed"]


def shorten(tensors: dict[str, torch.Tensor]) -> None:
    tensors["layers.1.o.packed"] = tensors["layers.1.o.packed"][:64].clone()


def retype(tensors: dict[str, torch.Tensor]) -> None:
    tensors["layers.1.o.packed"] = tensors["layers.1.o.packed"].view(torch.int8)


@pytest.mark.parametrize("damage", [drop, shorten, retype])
def test_a_damaged_folder_says_what_to_do(
    spoilt: Path, tiny_qwen3: Path, damage: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    tensors = load_file(spoilt / "model.safetensors")
    damage(tensors)
    save_file(tensors, spoilt / "model.safetensors")
    assert refusal(spoilt) == (
        f"{spoilt} is damaged: layers.1.o.packed not as int8 stores it. "
        f"Quantise the model again: farthing quantize {tiny_qwen3} OUT."
    )


def test_weights_cut_short_are_refused(spoilt: Path) -> None:
    file = spoilt / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    assert "not a whole safetensors file" in refusal(spoilt)


def test_without_its_manifest_a_folder_is_no_model(spoilt: Path) -> None:
    (spoilt / FILE).unlink()
    assert "does not fit its config.json" in refusal(spoilt)


def set_closeness(folder: Path, cosine: float | None, *, synthetic: bool) -> Path:
    manifest, config = json.loads((folder / FILE).read_text()), json.loads((folder / "config.json").read_text())
    closeness = {"cosine_mean": cosine, "cosine_min": 0.1, "neighbours_kept": 0.5, "num_texts": 9}
    (folder / FILE).write_text(json.dumps({**manifest, "closeness": None if cosine is None else closeness}))
    (folder / "config.json").write_text(json.dumps({**config, "farthing_synthetic": synthetic}))
    return folder


def test_a_folder_under_the_floor_is_refused_unless_the_floor_is_lowered(spoilt: Path) -> None:
    set_closeness(spoilt, 0.9499, synthetic=False)
    message = refusal(spoilt, SettingsError)
    assert f"{spoilt} has a mean cosine of 0.9499 to the exact model, and min_fidelity is 0.95." in message
    assert isinstance(load_model(spoilt, EngineSettings(min_fidelity=0.94)), LoadedModel)
    assert isinstance(load_model(set_closeness(spoilt, 0.951, synthetic=False), EngineSettings()), LoadedModel)


def test_a_synthetic_model_may_be_under_the_floor(spoilt: Path) -> None:
    assert isinstance(load_model(set_closeness(spoilt, 0.1, synthetic=True), EngineSettings()), LoadedModel)


@pytest.mark.parametrize(("floor", "warned"), [(0.95, True), (0.0, False)])
def test_what_was_not_measured_is_loaded_with_a_warning(
    spoilt: Path, floor: float, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    set_closeness(spoilt, None, synthetic=False)
    with caplog.at_level(logging.WARNING):
        load_model(spoilt, EngineSettings(min_fidelity=floor))
    assert ("was not measured" in caplog.text) is warned


def test_a_folder_is_not_quantised_again(prepared: Path, tiny_qwen3: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"quantised to int8 already. Quantise {tiny_qwen3}"):
        quantise(prepared, tmp_path / "twice")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_place_in_use_is_refused_and_left_alone(tiny_qwen3: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
    kept = out / "kept" if kind == "folder" else out
    kept.write_text("mine")
    with pytest.raises(SettingsError, match="exists and is not an empty folder"):
        quantise(tiny_qwen3, out)
    assert kept.read_text() == "mine"


def test_an_empty_folder_is_a_place(tiny_qwen3: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    quantise(tiny_qwen3, tmp_path / "out")
    assert read_manifest(tmp_path / "out") is not None


def test_a_folder_holds_the_sources_configuration_and_tokenizer(prepared: Path, tiny_qwen3: Path) -> None:
    def files(folder: Path) -> dict[Path, bytes]:
        return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.json")}

    stored = files(prepared)
    assert stored.pop(Path(FILE))
    assert stored == files(tiny_qwen3)


def test_measuring_is_written_down(tiny_qwen3: Path, tmp_path: Path) -> None:
    manifest = quantise_model(str(tiny_qwen3), tmp_path / "out", SourceSettings(), format="int8", measure=True)
    assert manifest.closeness is not None
    assert manifest.closeness["cosine_mean"] > 0.998
    assert read_manifest(tmp_path / "out") == manifest
    with Embedder(str(tmp_path / "out"), min_fidelity=0.998) as embedder:
        cosine, num_texts = manifest.closeness["cosine_mean"], manifest.closeness["num_texts"]
        assert embedder.facts()["closeness"].startswith(f"mean cosine {cosine:.4f}, least ")
        assert embedder.facts()["closeness"].endswith(f"of neighbours kept ({num_texts} texts)")
