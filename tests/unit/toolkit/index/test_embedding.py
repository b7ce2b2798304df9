"""Passages in parts, and the file that keeps them. With an index: test_index.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from farthing.toolkit.index.embedding import FIRST_CHARS, LEAST_CHARS, SECONDS_A_PUT, BegunVectors, PartSize
from farthing.toolkit.stores.database import BEGUN_MARK

TEXTS = [f"text {number}" for number in range(6)]
VECTORS = np.arange(24, dtype=np.float32).reshape(6, 4)


def test_as_much_is_put_as_takes_some_seconds() -> None:
    part_size = PartSize()
    part_size.note(FIRST_CHARS, 1.0)
    assert part_size.num_chars == min(4 * FIRST_CHARS, FIRST_CHARS * SECONDS_A_PUT)
    for _ in range(5):
        part_size.note(part_size.num_chars, part_size.num_chars / 1000)  # a thousand characters a second
    assert part_size.num_chars == 1000 * SECONDS_A_PUT
    part_size.note(10, 100.0)  # a rest tells nothing
    assert part_size.num_chars == 1000 * SECONDS_A_PUT
    part_size.note(part_size.num_chars, 1e9)
    assert part_size.num_chars == LEAST_CHARS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """With two parts: four texts and two."""
    path = tmp_path / "begun"
    begun = BegunVectors(path, "help", "space")
    begun.keep(TEXTS[:4], VECTORS[:4])
    begun.keep(TEXTS[4:], VECTORS[4:])
    return path


def held(file: Path, space: str = "space") -> dict[str, list[float]]:
    return {text: vector.tolist() for text, vector in BegunVectors(file, "help", space).held(TEXTS).items()}


def test_what_was_kept_is_found_by_its_text(file: Path) -> None:
    assert held(file) == dict(zip(TEXTS, VECTORS.tolist(), strict=True))
    assert not BegunVectors(file, "help", "space").held(["text 9"])


def test_vectors_of_another_space_are_not_found(file: Path) -> None:
    assert not held(file, "other")


def test_a_file_that_was_cut_off_counts_as_far_as_its_parts_are_whole(file: Path) -> None:
    """At every byte; and what is kept after that is found again."""
    content = file.read_bytes()
    seen = set()
    for num_bytes in range(len(content)):
        file.write_bytes(content[:num_bytes])
        found = held(file)
        seen.add(len(found))
        assert found == dict(zip(TEXTS[: len(found)], VECTORS[: len(found)].tolist(), strict=True))
        BegunVectors(file, "help", "space").keep(TEXTS, VECTORS)
        assert len(held(file)) == 6
    assert seen == {0, 4}


def test_a_part_that_was_changed_counts_for_nothing(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for place in range(len(BEGUN_MARK), len(content)):
        content[place] ^= 0x40
        file.write_bytes(content)
        assert len(held(file)) in (0, 4)
        content[place] ^= 0x40


def put_other_content(file: Path) -> None:
    file.write_text("notes of somebody else")


def put_link(file: Path) -> None:
    other = file.with_name("other")
    file.rename(other)
    file.symlink_to(other)


def put_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("put", [put_other_content, put_link, put_folder])
def test_what_somebody_else_put_there_is_neither_read_nor_changed(put: Callable[[Path], None], file: Path) -> None:
    put(file)
    before = file.read_bytes() if file.is_file() else None
    begun = BegunVectors(file, "help", "space")
    begun.keep(TEXTS, VECTORS)
    assert not begun.held(TEXTS)
    begun.clear()
    assert (file.read_bytes() if file.is_file() else None) == before
    assert file.is_symlink() or file.exists()
