from __future__ import annotations

import datetime
import json
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from farthing.core.errors import InputError, MissingExtraError
from farthing.toolkit.records.read_lines import Wanted
from farthing.toolkit.records.reader import open_reader
from farthing.toolkit.records.rows import Rows


def read(path: Path, count: int = 100) -> list[Rows]:
    with closing(open_reader(str(path), None, Wanted(None, None))) as reader:
        return list(iter(lambda: reader.take(count), None))


def texts(path: Path) -> list[str]:
    return [text for rows in read(path) for text in rows.texts]


def error_of(path: Path) -> str:
    """Of the first row that cannot be read, or of all of them."""
    try:
        rows = read(path)
    except InputError as error:
        return str(error)
    return str(next(error for part in rows for error in part.errors.values()))


def test_parquet_rows_come_in_any_chunk_size_across_row_groups(tmp_path: Path) -> None:
    expected = [f"text {n}" for n in range(5000)]
    parquet.write_table(pyarrow.table({"text": expected}), tmp_path / "a.parquet", row_group_size=700)
    chunks = read(tmp_path / "a.parquet", count=1500)
    assert [len(rows.texts) for rows in chunks] == [1500, 1500, 1500, 500]
    assert [text for rows in chunks for text in rows.texts] == expected
    assert chunks[2].place(3) == "Row 3004 of a.parquet"


@pytest.mark.parametrize("kind", [pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())])
def test_every_kind_of_string_column_is_read(kind: pyarrow.DataType, tmp_path: Path) -> None:
    column = pyarrow.array(["a", "b", "a"]).cast(kind)
    parquet.write_table(pyarrow.table({"body": column}), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == ["a", "b", "a"]


def test_parquet_records_become_json_where_json_has_a_word_for_them(tmp_path: Path) -> None:
    day = datetime.date(2024, 2, 29)
    parquet.write_table(
        pyarrow.table({"text": ["a"], "day": [day], "price": [Decimal("1.50")]}), tmp_path / "a.parquet"
    )
    [rows] = read(tmp_path / "a.parquet")
    assert json.loads(rows.json_objects()[0]) == {"text": "a", "day": "2024-02-29", "price": "1.50"}


def test_bytes_have_no_place_in_json(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["a"], "image": [b"\x00"]}), tmp_path / "a.parquet")
    [rows] = read(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"values that JSON has no place for: .*bytes.* Write Parquet instead"):
        rows.json_objects()


def test_what_is_no_number_is_null_in_json(tmp_path: Path) -> None:
    table = {"text": ["a", "b"], "s": [float("nan"), 1.5], "more": [{"x": [float("inf")]}, {"x": [0.0]}]}
    parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    [rows] = read(tmp_path / "a.parquet")
    assert [json.loads(line, parse_constant=str) for line in rows.json_objects()] == [
        {"text": "a", "s": None, "more": {"x": [None]}},
        {"text": "b", "s": 1.5, "more": {"x": [0.0]}},
    ]


def test_a_null_text_is_named_by_its_row(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["a"] * 1200 + [None]}), tmp_path / "a.parquet")
    assert "Row 1201 of a.parquet: the field 'text' is null" in error_of(tmp_path / "a.parquet")


def test_a_text_that_is_not_utf8_is_named_by_its_row(tmp_path: Path) -> None:
    raw = pyarrow.array([b"a", b"caf\xe9"]).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": raw}), tmp_path / "a.parquet")
    assert "Row 2 of a.parquet is not UTF-8" in error_of(tmp_path / "a.parquet")


def test_a_column_without_strings_is_refused(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": [1]}), tmp_path / "a.parquet")
    assert "The column 'text' of a.parquet is of type int64" in error_of(tmp_path / "a.parquet")


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("text\n")
    assert "is not a Parquet file" in error_of(tmp_path / "a.parquet")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'farthing\[parquet\]'"):
        read(tmp_path / "a.parquet")
