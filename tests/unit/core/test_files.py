from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from farthing.core.files import UnfitFileError, read_small, temporary_of, write_atomically


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_atomically(file, lambda path: path.write_text("1"))
    write_atomically(file, lambda path: path.write_text("2"))
    assert (file.read_text(), list(tmp_path.iterdir())) == ("2", [file])


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("1")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_atomically(tmp_path / "a.json", fail)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["1"]


def test_files_of_similar_names_and_what_links_lead_to_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "a.json.tmp").write_text("mine")
    (tmp_path / "a.json").symlink_to(tmp_path / "victim")
    write_atomically(tmp_path / "a.json", lambda path: path.write_text("new"))
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"victim": "mine", "a.json.tmp": "mine", "a.json": "new"}


def test_a_file_is_private_when_that_is_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        for private, mode in ((True, 0o600), (False, 0o644)):
            write_atomically(tmp_path / "a", lambda path: path.write_text("x"), private=private)
            assert (tmp_path / "a").stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("ä" * 127), lambda path: path.write_text("x"))
    assert (tmp_path / ("ä" * 127)).read_text() == "x"


def test_a_temporary_name_says_whose_it_is() -> None:
    assert temporary_of(".a.json.0123456789abcdef.tmp") == "a.json"
    assert [temporary_of(name) for name in ("a.json", "a.json.tmp", ".a.json.x.tmp")] == [None] * 3


def test_a_small_file_is_read_with_its_limits(tmp_path: Path) -> None:
    file = tmp_path / "a"
    assert read_small(file, 10) is None
    assert read_small(file / "b", 10) is None
    file.write_text("äöü")
    assert read_small(file, 6) == "äöü"
    for max_bytes, content, words in ((5, "äöü".encode(), "6 bytes, and at most 5"), (9, b"\xff", "not UTF-8")):
        file.write_bytes(content)
        with pytest.raises(UnfitFileError, match=words):
            read_small(file, max_bytes)
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(UnfitFileError, match="link"):
        read_small(tmp_path / "link", 10, follow_link=False)
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(UnfitFileError, match="no plain file"):
            read_small(tmp_path / name, 10)


def test_a_write_that_was_cut_short_by_a_full_disk_says_so(tmp_path: Path) -> None:
    """NumPy says only how many bytes were asked for and written."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")

    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, np.ones(2**20, dtype=np.float32))

    try:
        with pytest.raises(OSError, match="No space left on device") as caught:
            write_atomically(folder / "a.npy", save)
        assert caught.value.filename == str(folder / "a.npy")
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_an_error_of_writing_that_is_no_full_disk_stays_what_it_is(tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise OSError("393216 requested and 24544 written")

    with pytest.raises(OSError, match="requested") as caught:
        write_atomically(tmp_path / "a.npy", fail)
    assert caught.value.errno is None
