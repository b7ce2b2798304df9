from __future__ import annotations

from pathlib import Path

import pytest

from farthing.core.errors import EmptyInputError, InputError
from farthing.toolkit.evaluate.sets.find import find_sets
from farthing.toolkit.evaluate.sets.records import Wanted


def test_a_folder_s_kind_is_told_by_its_files_and_fields(
    tmp_path: Path, retrieval_dir: Path, pairs_dir: Path, labels_dir: Path, translation_dir: Path, cross_dir: Path
) -> None:
    (tmp_path / "README.md").write_text("about them")
    (tmp_path / ".git").mkdir()
    found = find_sets(tmp_path)
    assert [(data.name, data.kind) for data in found] == [
        ("alike", "similarity"),
        ("birds", "retrieval"),
        ("kinds", "labels"),
        ("said deu-eng", "translation"),
        ("said fra-eng", "translation"),
        ("two de", "retrieval"),
        ("two en", "retrieval"),
    ]
    assert [data.name for data in find_sets(tmp_path, ["kinds", "alike"])] == ["kinds", "alike"]
    assert [data.name for data in find_sets(pairs_dir)] == ["alike"]
    assert found[2].size == "2 labels, 6 texts to learn from, 2 to test"
    assert found[1].files == ("birds/corpus.jsonl", "birds/queries.jsonl", "birds/qrels.tsv")


def test_languages_are_asked_across_each_other_and_share_their_texts(cross_dir: Path, translation_dir: Path) -> None:
    found = find_sets(cross_dir.parent, wanted=Wanted([("en", "de"), ("de", "de"), ("deu", "eng")]))
    assert [data.name for data in found] == ["said deu-eng", "two en-de", "two de"]
    crossed, own = found[1:]
    assert crossed.parts["queries"].texts == ["a bird", "a coin"]
    assert crossed.parts["documents"].texts == ["ein Vogel", "eine Münze"]
    assert crossed.parts["documents"] is own.parts["documents"]


def test_languages_that_no_set_has_are_an_error(cross_dir: Path) -> None:
    with pytest.raises(InputError, match=r"No set of .* has the languages en-zh"):
        find_sets(cross_dir, wanted=Wanted([("en", "de"), ("en", "zh")]))


def test_languages_of_queries_that_no_corpus_has_must_be_named(cross_dir: Path) -> None:
    (cross_dir / "corpus.en.jsonl").unlink()
    (cross_dir / "queries.de.jsonl").unlink()
    with pytest.raises(InputError, match="Give two with --cross"):
        find_sets(cross_dir)
    assert [data.name for data in find_sets(cross_dir, wanted=Wanted([("en", "de")]))] == ["two en-de"]


def test_a_folder_that_is_no_set_is_told_what_was_looked_for(tmp_path: Path, pairs_dir: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "corpus.jsonl").write_text('{"id": 1, "text": "a"}')
    with pytest.raises(InputError) as raised:
        find_sets(tmp_path)
    message = str(raised.value)
    assert "other is no labelled set" in message
    assert "In it: corpus.jsonl." in message
    for wanted in ("qrels.tsv", "train.jsonl", "s1, s2", "src and tgt"):
        assert wanted in message


def test_a_folder_that_is_not_there_and_one_that_is_not_in_it_are_named(tmp_path: Path, pairs_dir: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        find_sets(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"test\.jsonl is a file"):
        find_sets(pairs_dir / "test.jsonl")
    with pytest.raises(InputError, match="no folder 'alice'; there: alike"):
        find_sets(tmp_path, ["alice"])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="In it: nothing"):
        find_sets(tmp_path / "nothing")


def test_an_empty_file_is_an_error(pairs_dir: Path) -> None:
    (pairs_dir / "test.jsonl").write_text("\n")
    with pytest.raises(EmptyInputError, match=r"alike/test\.jsonl is empty"):
        find_sets(pairs_dir)
