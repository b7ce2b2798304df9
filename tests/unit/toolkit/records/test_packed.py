from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from farthing.toolkit.records.read_lines import Wanted
from farthing.toolkit.records.reader import open_reader

PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def read(path: Path) -> tuple[list[str], list[str]]:
    """Texts and errors."""
    with closing(open_reader(str(path), None, Wanted(None, None))) as reader:
        parts = list(iter(lambda: reader.take(4), None))
    return (
        [text for rows in parts for index, text in enumerate(rows.texts) if index not in rows.errors],
        [str(error) for rows in parts for error in rows.errors.values()],
    )


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_is_packed_is_read_as_what_it_is(suffix: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / f"a.csv.{suffix}").write_bytes(PACK[suffix]("id,text\n1,caf\u00e9\n2,b\n".encode(encoding)))
    assert read(tmp_path / f"a.csv.{suffix}") == (["caf\u00e9", "b"], [])


@pytest.mark.parametrize("suffix", PACK)
def test_a_file_that_is_cut_off_gives_what_it_has_and_the_error_once(suffix: str, tmp_path: Path) -> None:
    lines = "".join(f"text number {number * 7919}\n" for number in range(200_000))
    packed = PACK[suffix](lines.encode())
    (tmp_path / f"a.txt.{suffix}").write_bytes(packed[: len(packed) * 3 // 4])
    texts, errors = read(tmp_path / f"a.txt.{suffix}")
    assert texts[:2] == ["text number 0", "text number 7919"]
    assert len(errors) == 1
    assert f"a.txt.{suffix} cannot be unpacked" in errors[0]


@pytest.mark.parametrize("suffix", PACK)
def test_a_file_that_is_not_packed_as_it_says_is_an_error(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a.txt.{suffix}").write_text("plain text\n" * 100)
    with pytest.raises(Exception, match="cannot be unpacked"):
        read(tmp_path / f"a.txt.{suffix}")
