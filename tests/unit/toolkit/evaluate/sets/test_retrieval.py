from __future__ import annotations

from pathlib import Path

import pytest

from farthing.core.errors import EmptyInputError, InputError
from farthing.toolkit.evaluate.sets.records import Wanted
from farthing.toolkit.evaluate.sets.retrieval import RetrievalSet, read, read_grades, recognises
from farthing.toolkit.records.skipped import STRICT, Skipped


def only(folder: Path, max_queries: int | None = None) -> RetrievalSet:
    (data,) = read(folder, Wanted(max_queries=max_queries))
    return data


def test_titles_go_before_texts_and_queries_that_nothing_answers_are_left_out(retrieval_dir: Path) -> None:
    data = only(retrieval_dir)
    assert data.documents.texts[:2] == ["Note The wren is a small brown bird.", "Crows are clever birds."]
    assert (data.query_ids, data.queries.texts[1]) == (["q0", "q1", "q3"], "money")
    assert data.queries.place(2) == "Line 4 of birds/queries.jsonl"
    assert data.grades["q0"] == {"d0": 2, "d1": 1}
    assert (data.documents.input_type, data.queries.input_type) == ("document", "query")
    assert only(retrieval_dir, 2).query_ids == ["q0", "q1"]


def test_beir_s_own_folder_of_qrels_is_read_too(retrieval_dir: Path) -> None:
    before = only(retrieval_dir).grades
    (retrieval_dir / "qrels").mkdir()
    (retrieval_dir / "qrels.tsv").rename(retrieval_dir / "qrels" / "test.tsv")
    assert recognises(retrieval_dir)
    assert only(retrieval_dir).grades == before
    (retrieval_dir / "qrels" / "test.tsv").unlink()
    assert not recognises(retrieval_dir)


def test_grades_need_no_header(tmp_path: Path) -> None:
    (tmp_path / "qrels.tsv").write_bytes(b"q\td\t1\r\n\nq\te\t-1\n")
    assert read_grades(tmp_path / "qrels.tsv", STRICT) == {"q": {"d": 1, "e": -1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("query-id\tcorpus-id\tscore\nq0\td0\tgood\n", r"Line 2 of birds/qrels\.tsv is 'q0\\td0\\tgood'"),
        ("q0 0 d0 1\n", "Line 1 .*tabs between"),
        ("q9\td0\t1\n", "grades the query 'q9', which is not in birds/queries"),
        ("q0\td9\t1\n", "grades the document 'd9', which is not in birds/corpus"),
    ],
)
def test_grades_that_mean_nothing_are_errors(content: str, message: str, retrieval_dir: Path) -> None:
    (retrieval_dir / "qrels.tsv").write_text(content)
    with pytest.raises(InputError, match=message):
        only(retrieval_dir)


def test_what_is_wrong_is_left_out_where_that_is_asked_for(retrieval_dir: Path) -> None:
    before, skipped = only(retrieval_dir), Skipped()
    with (retrieval_dir / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d8", "text"\n{"_id": "d9", "text": 5}\n')
    with (retrieval_dir / "qrels.tsv").open("a") as file:
        file.write("q0\td9\t1\nq9\td0\t1\nq0 d0 1\n")
    (after,) = read(retrieval_dir, Wanted(skipped=skipped))
    assert (after.document_ids, after.grades) == (before.document_ids, before.grades)
    assert skipped.num == 5


def test_a_set_without_a_relevant_document_is_an_error(retrieval_dir: Path) -> None:
    (retrieval_dir / "qrels.tsv").write_text("q0\td0\t0\n")
    with pytest.raises(EmptyInputError, match="No query of birds/queries"):
        only(retrieval_dir)
