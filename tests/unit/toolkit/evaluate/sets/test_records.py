from __future__ import annotations

from pathlib import Path

import pytest

from farthing.core.errors import InputError
from farthing.toolkit.evaluate.sets.records import Take, id_of, label_of, number_of, read_records, text_of
from farthing.toolkit.records.skipped import STRICT, Skipped


def read(folder: Path, content: str | bytes) -> Path:
    path = folder / "set" / "a.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_columns_are_read_and_lines_counted(tmp_path: Path) -> None:
    content = (
        '\ufeff{"_id": 7, "text": "a", "score": 1, "label": 3}\n\n{"id": "8", "text": "b", "score": 0.5, "label": "x"}'
    )
    records = read_records(read(tmp_path, content), STRICT, {"text": text_of, "id": id_of})
    assert (records.ids(), records.texts("text")) == (["7", "8"], ["a", "b"])
    assert (records.numbers("score"), records.labels("label")) == ([1.0, 0.5], ["3", "x"])
    assert records.part("text").place(1) == "Line 3 of set/a.jsonl"


@pytest.mark.parametrize(
    ("first", "line", "take", "message"),
    [
        ('"a"', '{"txt": "a"}', text_of, r"Line 2 of set/a\.jsonl has no field 'text'"),
        ('"a"', '{"text": 3}', text_of, r"Line 2 .*'text' is of type int"),
        ("1", '{"text": "4"}', number_of, r"Line 2 .*'4'; a score is a number"),
        ("1", '{"text": true}', number_of, r"Line 2 .*True; a score"),
        ("1", '{"text": null}', label_of, r"Line 2 .*None; a label is a string or"),
    ],
)
def test_a_value_that_is_not_what_it_should_be_is_named_by_its_line_or_left_out(
    first: str, line: str, take: Take, message: str, tmp_path: Path
) -> None:
    path, skipped = read(tmp_path, f'{{"text": {first}}}\n{line}\n{{"text": {first}}}\n'), Skipped()
    with pytest.raises(InputError, match=message):
        read_records(path, STRICT, {"text": take})
    assert read_records(path, skipped, {"text": take}).lines == [1, 3]
    assert skipped.num == 1


def test_ids_that_are_missing_or_come_twice_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Line 3 .*the id '1' of line 1"):
        read_records(read(tmp_path, '{"id": 1}\n{"id": 2}\n{"id": "1"}\n'), STRICT, {"id": id_of})
    with pytest.raises(InputError, match=r"Line 2 .*no field 'id'"):
        read_records(read(tmp_path, '{"id": 1}\n{"text": "a"}\n'), STRICT, {"id": id_of})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text": ', "Line 2 .*not valid JSON"),
        ('{"text": "a"}\n["b"]\n', "Line 2 .*not a JSON object"),
        ('{"text": "a"}\n{"text": "café"}\n'.encode("latin-1"), "Line 2 .*not UTF-8"),
    ],
)
def test_a_broken_line_is_named(content: str | bytes, message: str, tmp_path: Path) -> None:
    path, skipped = read(tmp_path, content), Skipped()
    with pytest.raises(InputError, match=message):
        read_records(path, STRICT, {"text": text_of})
    assert read_records(path, skipped, {"text": text_of}).texts("text") == ["a"]
    assert skipped.num == 1
