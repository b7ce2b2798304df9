from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing.core.errors import CheckpointError, ModelNotFoundError
from farthing.core.settings import SourceSettings
from farthing.sources.hub import cached_snapshot, download_snapshot

REPO = "some/model"
FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture
def settings(tmp_path: Path) -> SourceSettings:
    return SourceSettings(cache_dir=str(tmp_path / "cache"))


def download(settings: SourceSettings, repo: str = REPO, **options: Any) -> Path:
    return download_snapshot(repo, settings, **{"answer_within_s": 5.0, **options})


def files_under(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_safetensors_and_text_files_are_fetched(hub: Any, settings: SourceSettings) -> None:
    wanted = {
        "config.json": b"{}",
        "model.safetensors": b"weights",
        "tokenizer.json": b"{}",
        "merges.txt": b"",
        "sentencepiece.bpe.model": b"pieces",
        "1_Pooling/config.json": b"{}",
        "2_Dense/model.safetensors": b"dense",
    }
    refused = dict.fromkeys(
        ["pytorch_model.bin", "model.pt", "modeling.py", "onnx/model.onnx", "onnx/config.json", "openvino/a.json"],
        b"no",
    )
    hub.add(REPO, FIRST, wanted | refused)
    folder = download(settings)
    assert files_under(folder) == hub.fetched() == set(wanted)
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert folder.name == FIRST


def test_a_revision_is_pinned_by_tag_or_commit(hub: Any, tmp_path: Path) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "model.safetensors": b"old"}, "v1")
    hub.add(REPO, SECOND, {"config.json": b"{}", "model.safetensors": b"new"})
    for revision, commit, weights in (("v1", FIRST, b"old"), (FIRST, FIRST, b"old"), (None, SECOND, b"new")):
        folder = download(SourceSettings(cache_dir=str(tmp_path), revision=revision))
        assert (folder.name, (folder / "model.safetensors").read_bytes()) == (commit, weights)


def test_a_snapshot_is_found_again_without_the_hub(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "model.safetensors": b"weights"})
    folder = download(settings)
    hub.paths.clear()
    assert cached_snapshot(REPO, settings) == folder
    assert hub.paths == []


def test_a_snapshot_of_another_revision_does_not_count(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "model.safetensors": b"weights"})
    download(settings)
    pinned = SourceSettings(cache_dir=settings.cache_dir, revision="v2")
    with pytest.raises(ModelNotFoundError, match="no complete copy of some/model at revision v2"):
        cached_snapshot(REPO, pinned)


def test_a_download_that_broke_off_is_no_snapshot_and_is_completed_later(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "model.safetensors": b"weights"})
    hub.broken.add("model.safetensors")
    with pytest.raises(ModelNotFoundError) as caught:
        download(settings)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelNotFoundError, match="no complete copy of some/model"):
        cached_snapshot(REPO, settings)
    hub.broken.clear()
    assert (download(settings) / "model.safetensors").read_bytes() == b"weights"


def test_weights_that_are_only_pickles_are_refused_before_anything_is_fetched(
    hub: Any, settings: SourceSettings
) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    with pytest.raises(CheckpointError, match=r"only as pickles \(pytorch_model\.bin\)"):
        download(settings)
    assert hub.fetched() == set()


def test_a_model_without_any_weights_we_read_is_refused_with_what_it_has(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, FIRST, {"README.md": b"", "model.onnx": b""})
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors \(README\.md, model\.onnx\)"):
        download(settings)


def test_an_adapter_is_refused_before_anything_is_fetched(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, FIRST, {"adapter_config.json": b"{}", "adapter_model.safetensors": b""})
    with pytest.raises(CheckpointError, match="is an adapter and no whole model"):
        download(settings)
    assert hub.fetched() == set()


def test_weights_in_the_folder_of_early_versions_are_fetched(hub: Any, settings: SourceSettings) -> None:
    files = {"modules.json": b"[]", "0_Transformer/config.json": b"{}", "0_Transformer/model.safetensors": b"weights"}
    hub.add(REPO, FIRST, files)
    download(settings)
    assert hub.fetched() == set(files)


def test_gguf_files_are_left_to_the_user_to_choose_from(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, FIRST, {"README.md": b"", "model-q8_0.gguf": b"", "model-q4_k.gguf": b""})
    with pytest.raises(CheckpointError, match=r"offers GGUF files.*hf download some/model FILE"):
        download(settings)
    assert hub.fetched() == set()


def reason_of(settings: SourceSettings, **options: Any) -> str:
    with pytest.raises(ModelNotFoundError) as caught:
        download(settings, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_model_is_said_to_be_missing_or_private(hub: Any, settings: SourceSettings) -> None:
    assert reason_of(settings, repo="no/body") == (
        "it has no model no/body, or not one that is open to you (private models need HF_TOKEN)"
    )


def test_a_missing_revision_is_named(hub: Any, tmp_path: Path) -> None:
    hub.add(REPO, FIRST, {"config.json": b"{}", "model.safetensors": b"weights"})
    pinned = SourceSettings(cache_dir=str(tmp_path), revision="v9")
    assert reason_of(pinned) == "some/model has no revision v9"


def test_a_gated_model_says_where_to_accept_its_terms(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, FIRST, {})
    hub.gated.add(REPO)
    assert reason_of(settings) == f"some/model is gated: accept its terms at {hub.url}/some/model and set HF_TOKEN"


def test_a_sign_in_page_in_place_of_the_hub_is_a_reason(hub: Any, settings: SourceSettings) -> None:
    hub.sign_in_page = True
    assert reason_of(settings) == "what answers there is not a model hub (JSONDecodeError)"


def test_a_closed_port_is_a_reason_at_once(closed_hub: str, settings: SourceSettings) -> None:
    started_s = time.monotonic()
    assert reason_of(settings, answer_within_s=60.0).startswith("ConnectError: ")
    assert time.monotonic() - started_s < 20


@pytest.fixture
def trickling_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that sends a byte now and then, which no timeout of a single read notices, and never a whole answer."""
    stopped = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Endless: ")
            while not stopped.wait(0.05):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield
        stopped.set()
        thread.join()


def test_a_hub_without_a_whole_answer_is_given_up_in_the_time_allowed(
    trickling_hub: None, settings: SourceSettings
) -> None:
    started_s = time.monotonic()
    assert reason_of(settings, answer_within_s=0.3) == "no answer within 0.3 s"
    assert time.monotonic() - started_s < 20


def test_the_bars_are_shown_only_when_asked_for(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # the hub library's way to force bars where there is no terminal
    hub.add(REPO, FIRST, {"config.json": b"{}", "model.safetensors": b"weights"})
    download(SourceSettings(cache_dir=str(tmp_path / "silent")), show_progress=False)
    assert capfd.readouterr().err == ""
    download(SourceSettings(cache_dir=str(tmp_path / "shown")), show_progress=True)
    assert "Fetching 2 files" in capfd.readouterr().err
