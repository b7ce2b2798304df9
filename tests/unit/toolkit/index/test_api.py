from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farthing import Document, Embedder, Index
from farthing.core.errors import (
    IndexExistsError,
    IndexNotFoundError,
    IndexPlaceError,
    InputError,
    ModelNotFoundError,
    WrongSpaceError,
)
from farthing.toolkit.stores.where import Condition


def test_an_index_in_a_few_lines(tmp_path: Path, starter_dir: Path) -> None:
    place = str(tmp_path / "help")
    with Index.create(place, str(starter_dir)) as index:
        index.add([{"id": "p1", "title": "Forgotten password", "text": "Open the settings.", "year": 2026}, "A text."])
        index.add([Document("p2", "Parcels arrive within three days.")])
        (first,) = index.search("I lost my login", 1)
        assert (first.passage.document, first.passage.metadata) == ("p1", {"year": 2026})
    with Index(place) as again:
        assert [result.passage.document for result in again.search("x", where=["year >= 2026"])] == ["p1"]
        assert again.delete("p1", "p9") == 1
        again.compact()
        assert again.info().facts.num_documents == 2


def test_searching_by_words_loads_no_model(tmp_path: Path, starter_dir: Path) -> None:
    place = str(tmp_path / "help")
    with Index.create(place, str(starter_dir)) as index:
        index.add(["a wren"])
    with Index(place, "no such model") as again:
        assert len(again.search("wren", mode="keyword")) == 1


def test_files_are_added_as_on_the_command_line(tmp_path: Path, starter_dir: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Wrens\n\nThey sing.")
    (tmp_path / "docs" / "b.md").write_text("old")
    with Index.create(str(tmp_path / "index"), str(starter_dir)) as index:
        assert index.add_files(str(tmp_path / "docs"), exclude=["b.md"]).num_new == 1
        assert index.search("wrens", mode="keyword")[0].passage.title == "Wrens"
        with pytest.raises(InputError, match="does not exist"):
            index.add_files("nothing.md")


def test_a_bar_is_drawn_where_one_is_asked_for(
    tmp_path: Path, embedder: Embedder, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.md").write_text("They sing.")
    with Index.create(str(tmp_path / "index"), embedder) as index:
        index.add_files(str(tmp_path / "a.md"))
        assert capsys.readouterr().err == ""
        (tmp_path / "a.md").write_text("They sang.")
        index.add_files(str(tmp_path / "a.md"), show_progress=True)
        assert "Adding: 1 documents" in capsys.readouterr().err


def test_an_encoder_of_one_s_own_is_used_and_left_open(tmp_path: Path, embedder: Embedder) -> None:
    with Index.create(str(tmp_path / "index"), embedder) as index:
        index.add(["a wren"])
    assert embedder.encode("still open").shape == (embedder.dimensions,)


def test_of_a_model_that_was_moved_it_is_said_how_to_name_it(tmp_path: Path, starter_dir: Path) -> None:
    (tmp_path / "model").symlink_to(starter_dir)
    place = str(tmp_path / "index")
    with Index.create(place, str(tmp_path / "model")) as index:
        index.add(["a wren"])
    (tmp_path / "model").rename(tmp_path / "moved")
    with Index(place) as index, pytest.raises(ModelNotFoundError, match="give its folder as the encoder of Index"):
        index.search("wren")
    with Index(place, str(tmp_path / "moved")) as index:
        assert index.search("wren")


def test_an_index_moves_to_another_model(tmp_path: Path, embedder: Embedder, starter_dir: Path) -> None:
    with Index.create(str(tmp_path / "index"), embedder) as index:
        index.add(["a wren sings", "a tower stands"])
        index.reindex(str(starter_dir))
        assert index.search("bird song", 1)[0].passage.text == "a wren sings"
    with pytest.raises(WrongSpaceError), Index(str(tmp_path / "index"), embedder) as wrong:
        wrong.search("bird")


def test_an_open_index_follows_what_other_processes_make_of_its_place(tmp_path: Path, embedder: Embedder) -> None:
    place = str(tmp_path / "index")
    with Index.create(place, embedder) as index, Index(place, embedder) as other:
        index.add(["a wren"])
        index.search("wren")
        other._index.remove()
        with pytest.raises(IndexNotFoundError):
            index.search("wren")
        with Index.create(place, embedder) as new:
            new.add(["a crow"])
        assert [found.passage.text for found in index.search("wren")] == ["a crow"]
        assert index.add(["a crow"]).num_unchanged == 1


def test_an_index_takes_over_no_folder_of_somebody_else(tmp_path: Path, embedder: Embedder) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(IndexPlaceError, match="not empty"):
        Index.create(str(tmp_path), embedder)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_conditions_have_limits(tmp_path: Path, embedder: Embedder) -> None:
    with Index.create(str(tmp_path / "index"), embedder) as index:
        index.add(["a wren"])
        for where in (["a = 1"] * 65, ["a = " + "x" * 5000], ["a < 1e999"], [Condition("a", "=", 1)] * 50_000):
            with pytest.raises(InputError):
                index.search("wren", where=where)
        assert index.search("wren", where=["a = 1"] * 64) == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"id": "x"}, "Document 1 has no field 'text'"),
        (Document("x", None), "Document 1 has no field 'text'"),  # type: ignore[arg-type]
        ({"text": "x", "sizes": {"a": 1}}, "Document 1: the field 'sizes' is of type dict; metadata is text, a number"),
        ({"text": "x", "tags": ["a", ["b"]]}, "'tags' is a list with a value of type list; metadata is"),
        (Document("", "x", metadata={"tags": [{}]}), "'tags' is a list with a value of type dict"),  # type: ignore[list-item]
        ({"text": "x", "tags": ["a"] * 257}, "'tags' is a list of 257 values; at most 256 are taken"),
    ],
)
def test_what_is_no_document_is_refused(
    document: dict[str, object] | Document, words: str, tmp_path: Path, embedder: Embedder
) -> None:
    with Index.create(str(tmp_path / "index"), embedder) as index, pytest.raises(InputError, match=words):
        index.add(["fine", document])


def test_a_number_is_an_id_and_none_says_nothing(tmp_path: Path, embedder: Embedder) -> None:
    """As in JSON Lines, and as over HTTP."""
    with Index.create(str(tmp_path / "index"), embedder) as index:
        index.add([{"id": 0, "text": "a wren", "title": None, "source": None, "kind": None, "author": None, "year": 0}])
        (found,) = index.search("wren", mode="keyword")
        assert (found.passage.document, found.passage.title, found.passage.metadata) == ("0", "", {"year": 0})
        (tmp_path / "same.jsonl").write_text('{"id": 1, "text": "a crow", "title": null, "author": null}')
        assert index.add_files(str(tmp_path / "same.jsonl")).num_new == 1
        assert index.search("crow", mode="keyword")[0].passage.metadata == {}
        assert index.delete(0, "1") == 2


def test_none_says_nothing_in_a_document_either(tmp_path: Path, embedder: Embedder) -> None:
    nothing: Any = None
    with Index.create(str(tmp_path / "index"), embedder) as index:
        given = Document("0", "a wren", nothing, nothing, kind=nothing, metadata={"author": nothing, "year": 0})
        index.add(given)
        as_dict = {"id": 0, "text": "a wren", "title": None, "author": None, "year": 0, "tags": []}
        assert index.add([as_dict]).num_unchanged == 1
        assert index.search("wren", mode="keyword")[0].passage.metadata == {"year": 0}
        assert index.add([Document(nothing, "a crow"), Document("", "a rook"), "a crow"]).num_new == 2


def test_tags_come_back_as_they_were_given_and_conditions_ask_for_each(tmp_path: Path, embedder: Embedder) -> None:
    with Index.create(str(tmp_path / "index"), embedder) as index:
        index.add(
            [
                {
                    "id": "wren",
                    "text": "a small bird",
                    "tags": ["small", None, "brown", "small"],
                    "years": (1990, 2020),
                },
                Document("crow", "a black bird", metadata={"tags": ["black"], "years": [2001]}),
                {"id": "owl", "text": "a bird of the night", "tags": "brown"},
            ]
        )

        def found(*where: str) -> set[str]:
            return {result.passage.document for result in index.search("bird", where=where)}

        assert found("tags = brown") == {"wren", "owl"}
        assert found("tags != brown") == {"crow"}
        assert found("years < 2000") == {"wren"}
        assert found("years > 1995", "years < 2005") == {"wren", "crow"}
        (wren,) = index.search("bird", where="tags = small")
        assert wren.passage.metadata == {"tags": ["small", "brown", "small"], "years": [1990, 2020]}
        index.compact()
        index.add({"id": "wren", "text": "a small bird", "tags": ["little"]})
        assert (found("tags = small"), found("tags = little")) == (set(), {"wren"})
        with pytest.raises(InputError, match="the field 'tags' holds texts"):
            index.search("bird", where="tags = 5")


def test_there_must_be_an_index(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError):
        Index(str(tmp_path / "nothing"))


def test_an_index_that_is_there_is_opened_where_that_is_wanted(
    tmp_path: Path, embedder: Embedder, starter_dir: Path
) -> None:
    place = str(tmp_path / "help")
    with Index.create(place, embedder, exist_ok=True, max_tokens=64) as index:
        index.add("a wren sings")
    with Index.create(place, embedder, exist_ok=True, max_tokens=64) as again:
        assert [found.passage.text for found in again.search("wren")] == ["a wren sings"]
    with Index.create(place, embedder, exist_ok=True) as again:
        assert again.info().facts.num_documents == 1
    with pytest.raises(IndexExistsError):
        Index.create(place, embedder)
    with pytest.raises(IndexExistsError, match="made with max_tokens 64, and 128 is wanted"):
        Index.create(place, embedder, exist_ok=True, max_tokens=128)
    with pytest.raises(WrongSpaceError):
        Index.create(place, str(starter_dir), exist_ok=True)


def test_one_document_and_one_condition_need_no_list(tmp_path: Path, embedder: Embedder) -> None:
    with Index.create(str(tmp_path / "index"), embedder) as index:
        assert index.add({"id": "p1", "text": "a wren", "year": 2026}).num_new == 1
        assert index.add("a crow").num_new == 1
        assert index.add(Document("p3", "a tower", metadata={"year": 1900})).num_new == 1
        assert index.info().facts.num_documents == 3
        for where in ("year >= 2026", ["year >= 2026"], Condition("year", ">=", 2026)):
            assert [found.passage.document for found in index.search("bird", where=where)] == ["p1"]
        with pytest.raises(InputError, match="Document 1 is None; it must be a text, a dict"):
            index.add(["a text", None])  # type: ignore[list-item]


def test_an_index_says_what_it_is(tmp_path: Path, embedder: Embedder) -> None:
    with Index.create(str(tmp_path / "index"), embedder) as index:
        assert repr(index) == (
            f"Index({str(tmp_path / 'index')!r}, model={embedder.model!r}, dimensions={embedder.dimensions})"
        )
