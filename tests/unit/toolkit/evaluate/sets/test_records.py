from __future__ import annotations

from pathlib import Path

import pytest

from farthing.core.errors import InputError
from farthing.toolkit.evaluate.sets.records import read_records


def read(folder: Path, content: str | bytes) -> Path:
    path = folder / "set" / "a.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_columns_are_read_and_lines_counted(tmp_path: Path) -> None:
    content = (
        '\ufeff{"_id": 7, "text": "a", "score": 1, "label": 3}\n\n{"id": "8", "text": "b", "score": 0.5, "label": "x"}'
    )
    records = read_records(read(tmp_path, content))
    assert (records.ids(), records.texts("text")) == (["7", "8"], ["a", "b"])
    assert (records.numbers("score"), records.labels("label")) == ([1.0, 0.5], ["3", "x"])
    assert records.part("text").place(1) == "Line 3 of set/a.jsonl"


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ('{"txt": "a"}', "texts", r"Line 2 of set/a\.jsonl has no field 'text'"),
        ('{"text": 3}', "texts", r"Line 2 .*'text' is of type int"),
        ('{"text": "4"}', "numbers", r"Line 2 .*'4'; a score is a number"),
        ('{"text": true}', "numbers", r"Line 2 .*True; a score"),
        ('{"text": null}', "labels", r"Line 2 .*None; a label is a string or"),
    ],
)
def test_a_value_that_is_not_what_it_should_be_is_named_by_its_line(
    line: str, column: str, message: str, tmp_path: Path
) -> None:
    first = {"texts": '"a"', "numbers": "1", "labels": "1"}[column]
    records = read_records(read(tmp_path, f'{{"text": {first}}}\n{line}\n'))
    with pytest.raises(InputError, match=message):
        getattr(records, column)("text")


def test_ids_that_are_missing_or_come_twice_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Line 3 .*the id '1' of line 1"):
        read_records(read(tmp_path, '{"id": 1}\n{"id": 2}\n{"id": "1"}\n')).ids()
    with pytest.raises(InputError, match=r"Line 2 .*no field 'id'"):
        read_records(read(tmp_path, '{"id": 1}\n{"text": "a"}\n')).ids()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text": ', "Line 2 .*not valid JSON"),
        ('{"text": "a"}\n["b"]\n', "Line 2 .*not a JSON object"),
        ('{"text": "a"}\n{"text": "café"}\n'.encode("latin-1"), "Line 2 .*not UTF-8"),
    ],
)
def test_a_broken_line_is_named(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_records(read(tmp_path, content))
