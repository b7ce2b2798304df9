from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.core.errors import InputError
from farthing.toolkit import text_set
from farthing.toolkit.records.skipped import Skipped
from farthing.toolkit.text_set import TextSet, embed_text_set, read_text_set, read_vectors

RECORDS = [{"id": number, "text": f"text {number}"} for number in range(7)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TextSet:
    monkeypatch.setattr(text_set, "ROWS_AT_A_TIME", 3)
    monkeypatch.setattr(text_set, "TEXTS_AT_A_TIME", 2)
    path = tmp_path / "data.jsonl"
    path.write_text("\n\n".join(map(json.dumps, RECORDS)))
    return read_text_set(str(path))


@pytest.fixture(scope="module")
def embedder(tiny_qwen3: Path) -> Iterator[Embedder]:
    with Embedder(str(tiny_qwen3), context_length=32) as opened:
        yield opened


def test_texts_records_and_places_are_those_of_the_file(data: TextSet) -> None:
    assert data.texts == [record["text"] for record in RECORDS]
    assert len(data) == 7
    assert [json.loads(record) for record in data.json_objects()] == RECORDS
    assert [json.loads(record) for record in data.json_objects([5, 0, 3])] == [RECORDS[5], RECORDS[0], RECORDS[3]]
    assert data.place(4) == "Line 9 of data.jsonl"


def test_vectors_of_a_set_are_those_of_its_texts(data: TextSet, embedder: Embedder) -> None:
    found = embed_text_set(embedder, data)
    assert found.table.dtype == np.float32
    assert not found.unknown.any()
    np.testing.assert_allclose(found.table, embedder.encode(list(data.texts)), atol=1e-6)


def test_texts_over_the_context_are_cut(tmp_path: Path, embedder: Embedder) -> None:
    (tmp_path / "a.txt").write_text("long " * 100)
    assert embed_text_set(embedder, read_text_set(str(tmp_path / "a.txt"))).table.shape == (1, embedder.dimensions)


def test_texts_of_which_the_model_knows_no_word_are_told(starter_dir: Path, data: TextSet) -> None:
    texts = ["a wren", "x" * 150, "\U0001f600", "a wren", "y" * 150, "a wren", "a wren"]
    with Embedder(str(starter_dir)) as starter:
        found = embed_text_set(starter, replace(data, texts=texts), indices=np.array([4, 0, 2, 3]))
    assert np.flatnonzero(found.unknown).tolist() == [2, 4]


def test_a_text_that_cannot_be_embedded_has_no_vector_and_is_named_by_its_line(
    data: TextSet, embedder: Embedder
) -> None:
    broken = replace(data, texts=[*data.texts[:5], "\ud800", data.texts[6]])
    for indices in (None, np.array([0, 2, 3, 5])):
        found = embed_text_set(embedder, broken, indices=indices)
        assert list(found.errors) == [5]
        assert str(found.errors[5]).startswith("Line 11 of data.jsonl is not valid Unicode")
        assert np.flatnonzero(found.says_nothing).tolist() == [5]
        assert not found.table[5].any()
        np.testing.assert_allclose(found.table[[0, 2, 3]], embedder.encode(["text 0", "text 2", "text 3"]), atol=1e-6)


def test_records_that_cannot_be_read_are_left_out_and_the_others_keep_their_places(tmp_path: Path) -> None:
    path, skipped = tmp_path / "data.jsonl", Skipped()
    path.write_text('{"text": "a", "n": NaN}\n{"text"\n{"text": "b"}\n\n{"text": 5}\n{"text": "c"}\n')
    data = read_text_set(str(path), skipped=skipped)
    assert list(data.texts) == ["a", "b", "c"]
    assert [data.place(index) for index in range(3)] == [f"Line {line} of data.jsonl" for line in (1, 3, 6)]
    assert (data.numbers.tolist(), data.num_records) == ([0, 2, 4], 5)
    assert skipped.num == 2
    assert json.loads(next(data.json_objects())) == {"text": "a", "n": None}
    with pytest.raises(InputError, match="Line 2 of data"):
        read_text_set(str(path))


def test_a_set_without_some_texts_keeps_the_records_of_the_others(data: TextSet) -> None:
    rest = data.without([0, 3, 4, 5])
    assert list(rest.texts) == ["text 1", "text 2", "text 6"]
    assert [json.loads(record)["id"] for record in rest.json_objects()] == [1, 2, 6]
    assert [json.loads(record)["id"] for record in rest.json_objects([2, 0])] == [6, 1]
    assert [rest.place(index) for index in range(3)] == [f"Line {line} of data.jsonl" for line in (3, 5, 13)]


def test_vectors_of_records_that_could_not_be_embedded_are_none(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"text": "a"}\n{"text"\n{"text": ""}\n{"text": "c"}\n')
    data = read_text_set(str(tmp_path / "data.jsonl"), skipped=Skipped())
    np.save(tmp_path / "v.npy", np.array([[1, 0], [0, 0], [0, 0], [0, 2]], dtype=np.float32))
    found = read_vectors(tmp_path / "v.npy", data)
    np.testing.assert_array_equal(found.table, [[1, 0], [0, 0], [0, 1]])
    assert {index: str(error) for index, error in found.errors.items()} == {
        1: f"Line 3 of data.jsonl has no vector: row 3 of {tmp_path / 'v.npy'} is zero."
    }


def test_vectors_of_a_file_are_made_unit_vectors(data: TextSet, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.arange(1, 15, dtype=np.float16).reshape(7, 2))
    vectors = read_vectors(tmp_path / "v.npy", data).table
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[1], [0.6, 0.8], atol=1e-3)


def test_unit_vectors_stay_in_their_file(data: TextSet, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(7, dtype=np.float32))
    assert read_vectors(tmp_path / "v.npy", data).table.base is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((6, 2), dtype=np.float32), "6 vectors; data.jsonl has 7 texts"),
        (np.zeros(7, dtype=np.float32), "not hold a table"),
        (np.zeros((7, 2), dtype=np.int64), "not hold a table"),
        (np.zeros((7, 2), dtype=np.float32), "holds no vector: all its rows are zero"),
        (np.full((7, 2), np.nan, dtype=np.float32), "Row 1 of .* is not a vector"),
        (np.array([{}] * 7), "cannot be read"),
    ],
)
def test_a_file_of_other_vectors_is_refused(content: np.ndarray, message: str, data: TextSet, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", content)
    with pytest.raises(InputError, match=message):
        read_vectors(tmp_path / "v.npy", data)


def test_a_file_that_is_no_npy_is_refused(data: TextSet, tmp_path: Path) -> None:
    (tmp_path / "v.npy").write_text("0.1 0.2")
    with pytest.raises(InputError, match="cannot be read"):
        read_vectors(tmp_path / "v.npy", data)
    with pytest.raises(InputError, match="cannot be read"):
        read_vectors(tmp_path / "missing.npy", data)


def test_only_the_texts_that_are_asked_for_are_embedded(data: TextSet, embedder: Embedder) -> None:
    vectors = embed_text_set(embedder, data, indices=np.array([6, 1, 4])).table
    np.testing.assert_allclose(vectors[[1, 4, 6]], embedder.encode(["text 1", "text 4", "text 6"]), atol=1e-6)
    assert not vectors[[0, 2, 3, 5]].any()
