from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from pyarrow import parquet

from farthing.core.errors import InputError, MissingExtraError, SettingsError
from farthing.toolkit.bulk.write_jsonl import NUMBER
from farthing.toolkit.bulk.writer import check_output, open_writer
from farthing.toolkit.records.rows import ArrowRows, Record, RecordRows, Rows

METADATA = {"farthing.model": "m", "farthing.space": "0123"}


def records(*objects: str) -> RecordRows:
    return RecordRows(
        "a.jsonl", [Record(n + 1, json.loads(line).get("text", ""), line) for n, line in enumerate(objects)]
    )


def vectors(count: int, dimensions: int = 3) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, dimensions), dtype=np.float32)


def write(output: Path, chunks: Sequence[tuple[Rows, np.ndarray]], *, reopen: bool = False) -> Path:
    """Write the chunks and put them together; with `reopen` each by a writer of its own, as after a stop."""
    paths: list[Path] = []
    writer = open_writer(output, METADATA, [])
    for rows, values in chunks:
        writer = open_writer(output, METADATA, paths) if reopen else writer
        path = output.with_name(f"{len(paths)}{output.suffix}")
        writer.write_chunk(path, rows, values, range(len(values)))
        paths.append(path)
    writer.assemble(paths, output)
    return output


@pytest.mark.parametrize("reopen", [False, True])
def test_npy_chunks_become_one_array(reopen: bool, tmp_path: Path) -> None:
    parts = [vectors(count) for count in (1, 5, 2)]
    output = write(
        tmp_path / "o.npy", [(records(*['{"text":"a"}'] * len(part)), part) for part in parts], reopen=reopen
    )
    loaded = np.load(output)
    assert loaded.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(loaded, np.concatenate(parts))


def test_jsonl_records_come_out_as_they_went_in(tmp_path: Path) -> None:
    lines = ['{"n": 1.10, "text": "ü\\u00fc"}', '{"text":"{}" }', '{"nested":{"a":{}},"text":"b"}']
    values = vectors(3)
    output = write(tmp_path / "o.jsonl", [(records(*lines[:2]), values[:2]), (records(lines[2]), values[2:])])
    written = output.read_text(encoding="utf-8").splitlines()
    for line, text, vector in zip(lines, written, values, strict=True):
        assert text.startswith(line.removesuffix("}").rstrip() + ', "embedding": [')
        loaded = json.loads(text)
        assert np.array(loaded.pop("embedding"), dtype=np.float32).tolist() == vector.tolist()
        assert loaded == json.loads(line)


@given(hypothesis_numpy.arrays(np.float32, 8, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_numbers_in_json_bring_back_every_float32(values: np.ndarray) -> None:
    texts = [NUMBER % value for value in values.tolist()]
    back = np.array([json.loads(text) for text in texts], dtype=np.float32)
    np.testing.assert_array_equal(back.view(np.uint32) & 0x7FFFFFFF, values.view(np.uint32) & 0x7FFFFFFF)


@pytest.mark.parametrize("reopen", [False, True])
def test_parquet_has_the_input_columns_the_embedding_and_the_vector_space(reopen: bool, tmp_path: Path) -> None:
    first = ['{"text":"a","n":1}', '{"text":"b","n":null,"tags":["x"]}']
    later = ['{"text":"c","n":2.5,"new":true}']
    output = write(
        tmp_path / "o.parquet", [(records(*first), vectors(2)), (records(*later), vectors(1))], reopen=reopen
    )
    table = parquet.read_table(output)
    assert table.drop_columns("embedding").to_pylist() == [
        {"text": "a", "n": 1.0, "tags": None, "new": None},
        {"text": "b", "n": None, "tags": ["x"], "new": None},
        {"text": "c", "n": 2.5, "tags": None, "new": True},
    ]
    assert table.column_names[-1] == "embedding"
    assert table.schema.field("embedding").type == pyarrow.list_(pyarrow.float32(), 3)
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), np.concatenate([vectors(2), vectors(1)]))
    assert {name.decode(): value.decode() for name, value in table.schema.metadata.items()} == METADATA


def test_parquet_columns_keep_their_types(tmp_path: Path) -> None:
    schema = pyarrow.schema(
        [("text", pyarrow.large_string()), ("at", pyarrow.timestamp("ns", "UTC")), ("raw", pyarrow.binary())],
        metadata={"kept": "yes"},
    )
    table = pyarrow.table({"text": ["a", "b"], "at": [1, 2], "raw": [b"\xff", None]}, schema=schema)
    output = write(tmp_path / "o.parquet", [(ArrowRows("a.parquet", 1, "text", table), vectors(2))])
    written = parquet.read_table(output)
    assert written.drop_columns("embedding").equals(table)
    assert written.schema.metadata[b"kept"] == b"yes"


def test_columns_that_mix_types_are_refused_when_they_appear(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"The field 'n' of lines 1 to 2 of a.jsonl .* Write JSON Lines instead"):
        write(tmp_path / "o.parquet", [(records('{"text":"a","n":1}', '{"text":"b","n":"x"}'), vectors(2))])
    with pytest.raises(InputError, match=r"Line 1 of a.jsonl, or one of the 0 rows after it, does not fit"):
        write(
            tmp_path / "o.parquet",
            [(records('{"text":"a","n":1}'), vectors(1)), (records('{"text":"b","n":"x"}'), vectors(1))],
        )


@pytest.mark.parametrize("value", ["1" * 30, '"\\ud800"', "{}"])
def test_values_that_parquet_cannot_hold_are_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Write JSON Lines instead"):
        write(tmp_path / "o.parquet", [(records(f'{{"text":"a","n":{value}}}'), vectors(1))])


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'farthing\[parquet\]'"):
        open_writer(tmp_path / "o.parquet", METADATA, [])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("o.bin", "must end in one of .npy, .jsonl, .parquet"),
        ("folder.npy", "is a folder"),
        ("missing/o.npy", "does not exist; make it first"),
    ],
)
def test_an_impossible_output_is_explained(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(SettingsError, match=message):
        check_output(tmp_path / name)
