"""Fingerprints are kept for exactly the files that they were computed from."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from farthing.checkpoint import reader, remembered
from farthing.checkpoint.reader import Checkpoint
from farthing.checkpoint.remembered import kept_file

Folder = Path
OLD_S = 100.0


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(remembered, "FARTHING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file was changed a while ago; its time of the last change cannot be set otherwise."""
    settled = time.time() + OLD_S
    monkeypatch.setattr(remembered.time, "time", lambda: settled)


class Computing:
    """Counts how often a fingerprint had to be computed."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return f"{self.times:016d}"


def two_files(folder: Path) -> list[Path]:
    files = [folder / "weights", folder / "tokenizer"]
    for file in files:
        file.write_bytes(b"content")
    return files


@pytest.mark.usefixtures("now")
def test_unchanged_files_are_read_once(tmp_path: Path) -> None:
    files, compute = two_files(tmp_path), Computing()
    assert [remembered.remembered(files, 1, compute) for _ in range(3)] == ["0" * 15 + "1"] * 3
    assert compute.times == 1


def replace_content(file: Path) -> None:
    """Other content of the same size, under the old date."""
    before = file.stat()
    file.write_bytes(b"changed")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_file(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_bytes(b"changed")
    os.utime(other, ns=(0, file.stat().st_mtime_ns))
    other.replace(file)


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("change", [replace_content, replace_file, Path.unlink, lambda file: file.write_bytes(b"more")])
@pytest.mark.parametrize("which", [0, 1])
def test_a_change_is_seen(tmp_path: Path, change: object, which: int) -> None:
    files, compute = two_files(tmp_path), Computing()
    remembered.remembered(files, 1, compute)
    assert callable(change)
    time.sleep(0.05)  # file systems write times down by a clock that ticks every few milliseconds
    change(files[which])
    assert remembered.remembered(files, 1, compute) == "0" * 15 + "2"


@pytest.mark.usefixtures("now")
def test_what_else_it_depends_on_counts(tmp_path: Path) -> None:
    files, compute = two_files(tmp_path), Computing()
    found = [
        remembered.remembered(files, known, compute)[-1] for known in ([1, {"a": 2}], [2, {"a": 2}], [2, {"a": 3}])
    ]
    assert found == ["1", "2", "3"]


def test_what_has_just_been_changed_is_not_kept(tmp_path: Path) -> None:
    files, compute = two_files(tmp_path), Computing()
    remembered.remembered(files, 1, compute)
    remembered.remembered(files, 1, compute)
    assert compute.times == 2


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("content", [b"", b"x" * 100_000, b"\xff\xfe", b"no key"])
def test_a_damaged_memory_is_computed_again(tmp_path: Path, content: bytes) -> None:
    files, compute = two_files(tmp_path), Computing()
    remembered.remembered(files, 1, compute)
    kept_file(files).write_bytes(content)
    assert remembered.remembered(files, 1, compute) == "0" * 15 + "2"
    assert remembered.remembered(files, 1, compute) == "0" * 15 + "2"


@pytest.mark.usefixtures("now")
def test_without_a_cache_it_is_computed_each_time(tmp_path: Path, cache: Path) -> None:
    cache.write_text("no folder")
    files, compute = two_files(tmp_path), Computing()
    assert [remembered.remembered(files, 1, compute)[-1] for _ in range(2)] == ["1", "2"]


@pytest.mark.usefixtures("now")
def test_a_model_is_digested_once(tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Checkpoint(tiny_qwen3).fingerprint

    def refuse(*_: object) -> str:
        raise AssertionError("digested again")

    monkeypatch.setattr(reader, "digest_model", refuse)
    assert Checkpoint(tiny_qwen3).fingerprint == first
