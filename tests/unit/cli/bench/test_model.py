from __future__ import annotations

from pathlib import Path

import pytest

from farthing.checkpoint.reader import Checkpoint
from farthing.cli.bench import model as bench_model
from farthing.cli.bench.model import find_bench_model
from farthing.core.errors import ModelNotFoundError
from farthing.core.settings import SourceSettings


@pytest.fixture
def settings(tmp_path: Path) -> SourceSettings:
    return SourceSettings(cache_dir=str(tmp_path / "cache"), offline=True)


def names(settings: SourceSettings) -> set[str]:
    return {file.name for file in (Path(settings.cache_dir or "") / "synthetic").iterdir()}


@pytest.mark.parametrize("name", ["qwen3-tiny", "tiny", "Qwen3-Tiny"])
def test_a_shape_is_made_once_and_then_taken_from_the_cache(
    name: str, settings: SourceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = find_bench_model("qwen3-tiny", settings)
    assert Checkpoint(made.path).tensors
    monkeypatch.delattr(bench_model, "write_synthetic")
    assert find_bench_model(name, settings) == made
    assert made.shape == "qwen3-tiny"
    assert made.path == Path(settings.cache_dir or "") / "synthetic" / "qwen3-tiny"


def test_what_breaks_off_leaves_nothing_that_is_taken_for_a_model(
    settings: SourceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(shape: object, folder: Path, **options: object) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bench_model, "write_synthetic", break_off)
        with pytest.raises(KeyboardInterrupt):
            find_bench_model("tiny", settings)
    assert names(settings) <= {".qwen3-tiny.lock"}
    assert Checkpoint(find_bench_model("tiny", settings).path).tensors


def test_the_remains_of_a_killed_process_are_removed(settings: SourceSettings) -> None:
    partial = Path(settings.cache_dir or "") / "synthetic" / ".qwen3-tiny.partial"
    partial.mkdir(parents=True)
    (partial / "model-00001-of-00002.safetensors").write_bytes(b"half")
    found = find_bench_model("tiny", settings)
    assert sorted(file.name for file in found.path.glob("*.safetensors")) == ["model.safetensors"]
    assert not partial.exists()


def test_a_local_folder_comes_before_a_shape_of_its_name(
    tiny_qwen3: Path, settings: SourceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_qwen3.parent)
    found = find_bench_model(tiny_qwen3.name, settings)
    assert (found.path, found.shape) == (tiny_qwen3, None)


def test_a_mistyped_shape_is_corrected_without_asking_a_hub(settings: SourceSettings) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no shape 'qwen3-0.7b'. Did you mean 'qwen3-0.6b'\?") as caught:
        find_bench_model("qwen3-0.7b", settings)
    assert "offline" not in str(caught.value)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "no-such-model", "./nowhere"])
def test_what_is_neither_model_nor_shape_gets_a_list_of_both(name: str, settings: SourceSettings) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find_bench_model(name, settings)
    assert ("does not exist" if name == "./nowhere" else f"No source has the model {name}") in str(caught.value)
    assert "qwen3-4b" in str(caught.value)
    assert "modelscope:ID" in str(caught.value)
