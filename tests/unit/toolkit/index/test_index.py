from __future__ import annotations

import itertools
import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from few_documents import DOCUMENTS

from farthing import Embedder
from farthing.core.errors import (
    ClosedError,
    DimensionsError,
    DiskFullError,
    EngineError,
    IndexBusyError,
    IndexExistsError,
    IndexNotFoundError,
    IndexPlaceError,
    InputError,
    SettingsError,
    UnreadableIndexError,
    WrongSpaceError,
)
from farthing.models.synth.checkpoint import find_shape, write_synthetic
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.serving.text.vocabulary import Unknown
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.limits import MAX_TEXT_CHARS
from farthing.toolkit.index import adding, embedding, words
from farthing.toolkit.index import index as index_module
from farthing.toolkit.index.adding import Added, embedded_text
from farthing.toolkit.index.index import VectorIndex, remove_index
from farthing.toolkit.index.reindex import reindex
from farthing.toolkit.index.search import Query, search
from farthing.toolkit.records.skipped import Skipped
from farthing.toolkit.stores.lance.database import LanceDatabase
from farthing.toolkit.stores.passage import Passage


def passages(index: VectorIndex) -> dict[str, Passage]:
    return {passage.id: passage for passage in itertools.chain.from_iterable(index.store.passages())}


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """A model of the same shape with other weights."""
    path = tmp_path_factory.mktemp("other") / "qwen3-tiny"
    write_synthetic(find_shape("qwen3-tiny"), path, seed=7)
    with Embedder(str(path)) as opened:
        yield opened


# --- making and opening -----------------------------------------------------------------------------------------------


def test_an_index_opens_with_what_was_put_into_it(index: VectorIndex, database: LanceDatabase) -> None:
    again = VectorIndex.open(database)
    assert again.manifest == index.manifest
    assert passages(again) == passages(index)
    assert {passage.document for passage in passages(again).values()} == {document.id for document in DOCUMENTS}


def test_there_is_one_index_in_a_place(index: VectorIndex, database: LanceDatabase, embedder: Embedder) -> None:
    with pytest.raises(IndexExistsError, match="already"):
        VectorIndex.create(database, embedder)
    assert len(passages(index)) > 3


def test_a_place_without_an_index_says_how_to_make_one(database: LanceDatabase) -> None:
    with pytest.raises(IndexNotFoundError, match="farthing index create"):
        VectorIndex.open(database)


def test_a_file_is_no_place_for_an_index(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="is a file"):
        LanceDatabase(str(tmp_path / "file"))


def test_vectors_can_be_kept_shorter(database: LanceDatabase, embedder: Embedder) -> None:
    index = VectorIndex.create(database, embedder, dimensions=32)
    index.add(DOCUMENTS, embedder)
    assert index.dimensions == index.manifest.space.dimensions == 32
    index.check(embedder)
    with pytest.raises(DimensionsError):
        VectorIndex.create(LanceDatabase(database.place + "2"), embedder, dimensions=100_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": 99}, "layout 99"),
        ({"words_version": words.VERSION + 1}, "farthing index reindex"),
        ({"layout": True}, "layout True"),
        ({"layout": [1]}, "layout list"),
        ({"layout": 10**1000}, "layout a very large number"),
        ({"splitting": {}}, "cannot be read"),
        ({"splitting": {"max_tokens": 64, "overlap_tokens": 64}}, "overlap_tokens is 64"),
        ({"splitting": {"max_tokens": 2**40, "overlap_tokens": 0}}, r"splitting\.max_tokens \(1099511627776\)"),
        ({"space": None}, "'space' is missing"),
        ({"space": []}, "'space' is missing or no JSON object"),
        ({"space": {"dimensions": 384}}, r"space\.model \(missing\)"),
        ({"data": "/home/victim-2"}, "data"),
        ({"data": "../.."}, "data"),
        ({"data": "data-1/../../victim"}, "data"),
        ({"data": "data-1\n"}, "data"),
        ({"data": "data-" + "1" * 10}, "data"),
        ({"data": 1}, r"data \(1\)"),
        ({"model": "m" * 5000}, "model"),
        ({"words_version": "1"}, r"words_version \('1'\)"),
        ({"words_version": True}, "words_version"),
        ({"words_version": float("nan")}, "words_version"),
        ({"id": "x"}, "id"),
        ({"more": 1}, "more is not known"),
    ],
)
def test_an_index_that_this_version_cannot_read_is_refused(
    change: dict[str, object], message: str, index: VectorIndex, database: LanceDatabase
) -> None:
    fields = json.loads(index.manifest.to_json())
    database.write("farthing-index", json.dumps({**fields, **change}))
    with pytest.raises(UnreadableIndexError, match=message) as error:
        VectorIndex.open(database)
    assert database.place in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("dimensions", [0, -1, 1.5, True, "384", 2**31, 10**400])
def test_dimensions_that_make_no_sense_are_refused(
    dimensions: object, index: VectorIndex, database: LanceDatabase
) -> None:
    fields = json.loads(index.manifest.to_json())
    fields["space"]["dimensions"] = dimensions
    database.write("farthing-index", json.dumps(fields))
    with pytest.raises(UnreadableIndexError, match=r"space\.dimensions"):
        VectorIndex.open(database)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '"x"', "[" * 60_000, '{"a":' * 10_000, '{"layout": ' + "9" * 60_000 + "}", "\ufeff{}"],
    ids=range(9),
)
def test_what_is_no_manifest_is_refused_and_the_index_can_be_removed(
    content: str, index: VectorIndex, database: LanceDatabase
) -> None:
    database.write("farthing-index", content)
    with pytest.raises(UnreadableIndexError):
        VectorIndex.open(database)
    assert remove_index(database) == []
    assert not Path(database.place).exists()


def test_an_index_of_the_first_version_opens_and_is_removed(index: VectorIndex, database: LanceDatabase) -> None:
    """It had no id in its manifest, and no mark in its data."""
    fields = json.loads(index.manifest.to_json())
    del fields["id"]
    database.write("farthing-index", json.dumps(fields))
    (Path(database.place) / "data-1" / "made-by-farthing.json").unlink()
    assert VectorIndex.open(database).delete(["wren"]) == 1
    remove_index(database)
    assert not Path(database.place).exists()


def test_data_that_is_missing_is_an_error_and_not_an_empty_index(index: VectorIndex, database: LanceDatabase) -> None:
    shutil.rmtree(Path(database.place) / "data-1")
    for call in (lambda: VectorIndex.open(database), lambda: search(index, Query("wren", mode="keyword"))):
        with pytest.raises(UnreadableIndexError, match="files of it are missing"):
            call()
    assert not (Path(database.place) / "data-1").exists()


# --- whose folder it is -----------------------------------------------------------------------------------------------


def test_an_index_is_not_made_where_something_else_is(tmp_path: Path, embedder: Embedder) -> None:
    (tmp_path / "data-1").mkdir()
    (tmp_path / "data-1" / "survey.csv").write_text("mine")
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(IndexPlaceError, match=r"holds data-1, thesis\.txt"):
        VectorIndex.create(LanceDatabase(str(tmp_path)), embedder)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data-1", "survey.csv", "thesis.txt"]


def test_an_index_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "new" / "index"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("farthing.toolkit.stores.lance.database.write_atomically", lambda *_, **__: full())
    with pytest.raises(DiskFullError):
        VectorIndex.create(LanceDatabase(str(place)), embedder)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    VectorIndex.create(LanceDatabase(str(place)), embedder)


def test_a_manifest_that_names_other_folders_changes_nothing_there(
    tmp_path: Path, index: VectorIndex, database: LanceDatabase, embedder: Embedder
) -> None:
    for name in ("victim-1", "victim-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "survey.csv").write_text("mine")
    fields = json.loads(index.manifest.to_json())
    database.write("farthing-index", json.dumps({**fields, "data": f"{tmp_path}/victim-2"}))
    for change in (index.compact, lambda: reindex(database, embedder), lambda: index.delete(["wren"])):
        with pytest.raises(UnreadableIndexError):
            change()
    remove_index(database)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["survey.csv", "survey.csv", "victim-1", "victim-2"]


def test_a_folder_that_has_the_name_of_older_data_is_left_alone(
    index: VectorIndex, database: LanceDatabase, embedder: Embedder
) -> None:
    folder = Path(database.place)
    reindex(database, embedder, dimensions=32)
    for name in ("data-1", "data-3"):
        (folder / name).mkdir()
        (folder / name / "survey.csv").write_text("mine")
    again = VectorIndex.open(database)
    again.compact()
    with pytest.raises(IndexPlaceError, match="data-3"):
        reindex(database, embedder)
    assert {passage.document for passage in passages(again).values()} == {document.id for document in DOCUMENTS}
    assert again.remove() == ["data-1", "data-3"]


# --- other processes --------------------------------------------------------------------------------------------------


def test_an_index_that_was_made_anew_with_as_many_changes_is_noticed(
    database: LanceDatabase, embedder: Embedder
) -> None:
    first = VectorIndex.create(database, embedder)
    first.add(DOCUMENTS[:1], embedder)
    assert len(search(first, Query("wren"), embedder)) == 1
    remove_index(database)
    second = VectorIndex.create(LanceDatabase(database.place), embedder)
    second.add([replace(DOCUMENTS[1], id="other")], embedder)
    assert second.manifest.id != first.manifest.id
    assert not first.is_current()
    with pytest.raises(IndexBusyError, match="made it anew"):
        first.add(DOCUMENTS, embedder)
    now = first.current()
    for mode in ("hybrid", "vector", "keyword"):
        found = search(now, Query("crow", mode=mode), embedder)
        assert [result.passage.document for result in found] == ["other"]
    assert counts(now.add([replace(DOCUMENTS[1], id="other")], embedder)) == (0, 0, 1)


def test_nothing_is_added_to_data_that_a_move_has_left(
    index: VectorIndex, database: LanceDatabase, embedder: Embedder
) -> None:
    reindex(LanceDatabase(database.place), embedder, dimensions=32)
    for change in (lambda: index.add([Document("new", "text")], embedder), index.compact, lambda: index.delete(["a"])):
        with pytest.raises(IndexBusyError, match="Ask again"):
            change()
    assert [path.name for path in Path(database.place).glob("data-*")] == ["data-2"]
    assert counts(index.current().add([Document("new", "text")], embedder)) == (1, 0, 0)


def test_removing_an_index_twice_is_an_error_that_makes_nothing(index: VectorIndex, database: LanceDatabase) -> None:
    index.remove()
    for change in (index.remove, index.compact, lambda: index.delete(["a"])):
        with pytest.raises(IndexNotFoundError):
            change()
    assert not Path(database.place).exists()


@pytest.mark.parametrize(("failing", "words"), [("put", "No document was added"), ("build", "2 of the documents were")])
def test_a_failure_of_the_store_says_what_was_added(
    failing: str, words: str, database: LanceDatabase, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = VectorIndex.create(database, embedder)

    def full(*_: object) -> None:
        raise DiskFullError("The disk is full.")

    monkeypatch.setattr(index.store, failing, full)
    with pytest.raises(DiskFullError, match=f"The disk is full. {words}"):
        index.add(DOCUMENTS[:2], embedder)
    assert index.info().facts.num_documents == (2 if failing == "build" else 0)


# --- adding -----------------------------------------------------------------------------------------------------------


def counts(added: Added) -> tuple[int, int, int]:
    return added.num_new, added.num_changed, added.num_unchanged


def test_what_is_held_as_it_is_is_not_embedded_again(
    index: VectorIndex, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode = Embedder.encode_request

    def watched(self: Embedder, request: EmbedRequest, **options: bool) -> EmbedResult:
        encoded.extend(map(str, request.inputs))
        return encode(self, request, **options)

    monkeypatch.setattr(Embedder, "encode_request", watched)
    before = passages(index)
    assert counts(index.add(DOCUMENTS, embedder)) == (0, 0, 4)
    assert passages(index) == before
    assert encoded == []

    changed = replace(DOCUMENTS[0], text="The wren sings.")
    assert counts(index.add([changed, *DOCUMENTS[1:], Document("new", "A new one.")], embedder)) == (1, 1, 3)
    assert encoded == ["Wren\nThe wren sings.", "A new one."]
    assert passages(index)["wren#0"].text == "The wren sings."


def unknown(added: Added) -> tuple[int, int]:
    return added.unknown.num_unknown_tokens, added.unknown.num_passages


def test_words_that_the_model_does_not_know_are_counted(database: LanceDatabase, starter_dir: Path) -> None:
    with Embedder(str(starter_dir)) as starter:
        index = VectorIndex.create(database, starter)
        known = index.add([Document("a", "A wren sings.", "Wren")], starter)
        assert known.unknown.num_tokens > 0
        assert unknown(known) == (0, 0)
        # WordPiece makes one unknown token of a word of more than 100 letters.
        added = index.add([Document("b", "x" * 300, "Wren"), Document("c", "A wren " + "y" * 300)], starter)
        assert unknown(added) == (2, 1)


class OfAnotherServer:
    """Tells which texts have no known word, as an upstream does, and nothing of tokens."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder, self.model, self.space = embedder, embedder.model, embedder.space
        self.dimensions, self.context_length = embedder.dimensions, embedder.context_length
        self.count_tokens, self.encode = embedder.count_tokens, embedder.encode

    def encode_request(self, request: EmbedRequest) -> EmbedResult:
        return replace(self._embedder.encode_request(request), unknown=Unknown((0,)))

    def close(self) -> None: ...


def test_what_another_server_does_not_know_is_counted_by_passages(index: VectorIndex, embedder: Embedder) -> None:
    added = index.add([Document("b", "one"), Document("c", "two")], OfAnotherServer(embedder))
    assert unknown(added) == (0, 1)


def test_a_large_index_is_built_when_much_was_added_and_finds_the_rest_all_the_same(
    index: VectorIndex, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "SMALL_PASSAGES", 0)
    monkeypatch.setattr(index_module, "MANY_UNINDEXED", 2)
    index.add([Document(f"d{number}", f"a heron {number}") for number in range(2)], embedder)
    assert index.info().facts.num_unindexed == 2
    found = search(index, Query("heron", mode="keyword"))
    assert {result.passage.document for result in found} == {"d0", "d1"}
    assert {"d0", "d1"} <= {result.passage.document for result in search(index, Query("a heron 1"), embedder)}
    index.add([Document("d2", "a heron 2")], embedder)
    assert index.info().facts.num_unindexed == 0
    index.add([Document("d3", "a heron 3")], embedder)
    index.compact()
    assert index.info().facts.num_unindexed == 0


def test_metadata_and_title_count_as_content(index: VectorIndex, embedder: Embedder) -> None:
    wren = DOCUMENTS[0]
    for changed in (replace(wren, title="A wren"), replace(wren, metadata={"grams": 10}), replace(wren, source="b.md")):
        assert counts(index.add([changed], embedder)) == (0, 1, 0)


def test_a_document_that_became_shorter_leaves_no_passage_behind(index: VectorIndex, embedder: Embedder) -> None:
    assert sum(name.startswith("tower#") for name in passages(index)) > 2
    index.add([replace(DOCUMENTS[2], text="It is tall.")], embedder)
    assert [name for name in passages(index) if name.startswith("tower#")] == ["tower#0"]


def test_passages_are_embedded_under_what_they_stand_under() -> None:
    passage = Passage("a#0", "a", "1", "## Windows\nRun it.", "Guide", heading="Install > Windows")
    assert embedded_text(passage) == "Guide\n## Windows\nRun it."
    assert embedded_text(replace(passage, text="Run it.")) == "Guide\nInstall > Windows\nRun it."


def test_vectors_are_those_of_the_embedded_texts(index: VectorIndex, embedder: Embedder) -> None:
    wren = passages(index)["wren#0"]
    vector = embedder.encode([embedded_text(wren)], input_type="document")[0]
    assert index.store.nearest(vector, 1) == [(wren, pytest.approx(1, abs=1e-5))]


def test_one_id_for_two_documents_is_an_error_and_for_one_twice_is_not(index: VectorIndex, embedder: Embedder) -> None:
    twice = Document("x", "the same", source="line 3 of a.jsonl")
    assert counts(index.add([twice, twice], embedder)) == (1, 0, 0)
    with pytest.raises(InputError, match=r"line 9 of a\.jsonl: the id 'x' was used"):
        index.add([twice, replace(twice, text="another", source="line 9 of a.jsonl")], embedder)


def test_what_stands_before_a_broken_document_is_kept(
    index: VectorIndex, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "DOCUMENTS_AT_A_TIME", 2)

    def documents() -> Iterator[Document]:
        for number in range(5):
            yield Document(f"d{number}", f"text {number}")
        raise InputError("Line 6 is broken.")

    with pytest.raises(InputError, match="Line 6 is broken"):
        index.add(documents(), embedder)
    assert {f"d{number}#0" for number in range(5)} <= set(passages(index))


@pytest.mark.parametrize("text", [" \n", "\ud800"])
def test_a_document_without_a_valid_text_is_named(text: str, index: VectorIndex, embedder: Embedder) -> None:
    with pytest.raises(InputError, match=r"line 2 of a\.jsonl"):
        index.add([Document("x", text, source="line 2 of a.jsonl")], embedder)


def test_vectors_of_another_space_are_refused_with_both_names(
    index: VectorIndex, embedder: Embedder, other: Embedder
) -> None:
    before = passages(index)
    with pytest.raises(WrongSpaceError) as refusal:
        index.add([Document("x", "text")], other)
    for name in (embedder.model, other.model, index.manifest.space.id, other.space.id):
        assert name in str(refusal.value)
    assert passages(index) == before


def test_a_space_that_changes_on_the_way_is_noticed_before_anything_is_put(
    index: VectorIndex, embedder: Embedder, other: Embedder
) -> None:
    class Changing:  # which says that it makes the vectors that it made before
        model, dimensions, context_length = embedder.model, embedder.dimensions, embedder.context_length
        space = embedder.space
        count_tokens = embedder.count_tokens

        def encode_request(self, request: EmbedRequest, *, show_progress: bool = False) -> EmbedResult:
            return other.encode_request(request, show_progress=show_progress)

        def close(self) -> None: ...

    before = passages(index)
    with pytest.raises(WrongSpaceError):
        index.add([Document("x", "text")], Changing())  # type: ignore[arg-type]
    assert passages(index) == before


def test_one_process_changes_an_index_at_a_time(
    index: VectorIndex, database: LanceDatabase, embedder: Embedder
) -> None:
    with LanceDatabase(database.place).writing():
        for change in (lambda: index.add(DOCUMENTS, embedder), lambda: index.delete(["wren"]), index.compact):
            with pytest.raises(IndexBusyError, match="Another process"):
                change()
    assert index.delete(["wren"]) == 1


# --- taking out -------------------------------------------------------------------------------------------------------


def test_documents_are_taken_out_by_id(index: VectorIndex) -> None:
    assert index.delete(["wren", "nothing", "密码"]) == 2
    assert {passage.document for passage in passages(index).values()} == {"crow", "tower"}
    assert index.info().facts.num_documents == 2


def test_pruning_takes_out_what_is_gone_from_its_folders_alone(index: VectorIndex, embedder: Embedder) -> None:
    names = ["docs/a.md", "docs/b.md", "docs2/c.md"]
    index.add([Document(name, "text " + name) for name in names], embedder)
    assert index.prune(["docs"], {"docs/a.md"}) == 1
    assert set(index.store.documents()) == {*(document.id for document in DOCUMENTS), "docs/a.md", "docs2/c.md"}


def test_pruning_keeps_what_could_not_be_read_this_time(index: VectorIndex, embedder: Embedder) -> None:
    names = ["docs/a.md", "docs/b.md", "docs/shut/c.md", "docs/gone.md"]
    index.add([Document(name, "text " + name) for name in names], embedder)
    assert index.prune(["docs"], {"docs/a.md"}, ["docs/b.md", "docs/shut"]) == 1
    assert set(index.store.documents()) >= {"docs/a.md", "docs/b.md", "docs/shut/c.md"}


def test_compacting_keeps_what_is_held(index: VectorIndex) -> None:
    before = passages(index)
    index.compact()
    assert passages(index) == before
    assert index.info().facts.num_unindexed == 0


def test_removing_leaves_nothing(index: VectorIndex, database: LanceDatabase) -> None:
    index.remove()
    with pytest.raises(IndexNotFoundError):
        VectorIndex.open(database)
    assert not Path(database.place).exists()


def test_what_a_step_raises_ends_the_adding_and_what_was_put_is_kept(
    index: VectorIndex, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "DOCUMENTS_AT_A_TIME", 4)
    put: list[int] = []

    def step() -> None:
        if put and put[-1] >= 8:
            raise ClosedError("stop")

    documents = (Document(f"more{number}", f"text {number}") for number in range(1000))
    with pytest.raises(ClosedError):
        index.add(documents, embedder, on_batch=lambda added: put.append(added.num_new), on_step=step)
    assert put[-1] == 8
    assert len([name for name in index.store.documents() if name.startswith("more")]) == 8


def test_the_thread_that_prepares_ends_when_embedding_fails(
    database: LanceDatabase, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would split and segment the whole batch first."""
    index = VectorIndex.create(database, embedder)
    monkeypatch.setattr(adding, "DOCUMENTS_AT_A_TIME", 200)
    num_words, has_failed, cut = [0], threading.Event(), index.segmenter.words

    def words(text: str) -> list[str]:
        num_words[0] += 1
        if num_words[0] == 210:  # of the second batch, while the first is embedded
            assert has_failed.wait(30)
            time.sleep(0.2)
        return cut(text)

    def fail(texts: object) -> np.ndarray:
        has_failed.set()
        raise EngineError("broken")

    monkeypatch.setattr(index.segmenter, "words", words)
    monkeypatch.setattr(index, "embed_with", lambda *_: fail)
    with pytest.raises(EngineError):
        index.add((Document(f"d{number}", f"text {number}") for number in range(400)), embedder)
    assert num_words[0] < 215


def test_long_documents_are_looked_at_a_few_at_a_time() -> None:
    batch, failure = adding.taken(Document(str(number), "x" * 1_500_000) for number in range(10))
    assert (len(batch), failure) == (3, None)


def test_what_is_too_large_is_refused_before_a_token_is_counted(
    index: VectorIndex, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(text: str) -> int:
        raise AssertionError("a token was counted")

    monkeypatch.setattr(embedder, "count_tokens", count)
    for fields in ({"title": "word " * 1000}, {"source": "s" * 5000}, {"metadata": {"n": "x" * 70_000}}):
        with pytest.raises(InputError, match="at most"):
            index.add([Document("a", "text", **fields)], embedder)  # type: ignore[arg-type]


def test_headings_as_long_as_the_text_are_not_kept_with_every_passage(index: VectorIndex, embedder: Embedder) -> None:
    text = "# " + "word " * 4000 + "\n" + "Some text. " * 2000
    index.add([Document("long", text, kind="markdown")], embedder)
    kept = [passage for batch in index.store.passages() for passage in batch if passage.document == "long"]
    assert len(kept) > 10
    assert max(len(passage.heading) for passage in kept) <= 200


def test_documents_split_without_their_structure_are_counted(index: VectorIndex, embedder: Embedder) -> None:
    deep = [Document(f"d{number}", "[" * 2000 + "]" * 2000, kind="javascript") for number in range(2)]
    added = index.add([*deep, Document("e", "plain text. " * 100)], embedder)
    assert (added.num_new, added.num_plain) == (3, 2)
    assert added.plain == ["document 'd0', since it nests too deep", "document 'd1', since it nests too deep"]


# --- what cannot be added, and how much is put at once ----------------------------------------------------------------


def test_documents_that_cannot_be_added_are_left_out_and_told(index: VectorIndex, embedder: Embedder) -> None:
    given = [
        Document("good", "text"), Document("blank", "  "), Document("long", "x" * (MAX_TEXT_CHARS + 1)),
        Document("other", "more text"), Document("good", "another text of this id"), Document("half", "a \ud800 b"),
    ]  # fmt: skip
    skipped = Skipped()
    added = index.add(given, embedder, skipped=skipped)
    assert (added.num_new, added.skipped.num) == (2, 4)
    assert {document for document in index.store.documents() if document in ("good", "other")} == {"good", "other"}
    for why in ("blank", "10,000,001 characters", "was used for another document", "surrogate"):
        assert any(why in reason for reason in skipped.reasons), why


@pytest.mark.parametrize("bad", [1, 3])
def test_what_stands_before_a_document_that_is_an_error_is_kept(
    index: VectorIndex, embedder: Embedder, bad: int
) -> None:
    given = [Document(f"n{number}", "  " if number == bad else "text") for number in range(5)]
    with pytest.raises(InputError, match="no text"):
        index.add(given, embedder)
    held = set(index.store.documents())
    assert {f"n{number}" for number in range(5)} & held == {f"n{number}" for number in range(bad)}


def put_a_thousand_chars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "FIRST_CHARS", 1000)
    monkeypatch.setattr(embedding, "SECONDS_A_PUT", 0.0)
    monkeypatch.setattr(embedding, "LEAST_CHARS", 1000)


def test_documents_are_put_before_all_of_a_batch_are_embedded(
    index: VectorIndex, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_a_thousand_chars(monkeypatch)
    seen: list[int] = []
    documents = (Document(f"n{number}", "word " * 100) for number in range(20))
    index.add(documents, embedder, lambda added: seen.append(added.num_new))
    assert seen[-1] == 20
    assert len(seen) >= 10


class Stopping:
    """An embedder's `encode_request` that is stopped after some calls, and remembers what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, calls: float = float("inf")) -> None:
        self.texts: list[str] = []
        encode = Embedder.encode_request

        def encode_some(embedder: Embedder, request: EmbedRequest, **options: bool) -> EmbedResult:
            nonlocal calls
            calls -= 1
            if calls < 0:
                raise KeyboardInterrupt
            self.texts.extend(map(str, request.inputs))
            return encode(embedder, request, **options)

        monkeypatch.setattr(Embedder, "encode_request", encode_some)


LONG = Document("long", " ".join(f"Stone {number} of the long wall is grey." for number in range(400)))


def vectors_of(index: VectorIndex) -> dict[str, list[float]]:
    rows = index.store._table.to_arrow().select(["id", "vector"]).to_pylist()  # type: ignore[attr-defined]
    return {row["id"]: row["vector"] for row in rows}


def test_of_a_long_document_that_was_stopped_only_the_rest_is_embedded(
    index: VectorIndex, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_a_thousand_chars(monkeypatch)
    seen: list[int] = []
    with monkeypatch.context() as patch:
        stopped = Stopping(patch, calls=5)
        with pytest.raises(KeyboardInterrupt):
            index.add([LONG], embedder, lambda added: seen.append(added.num_begun))
    assert seen == sorted(seen)
    assert seen[-1] == len(stopped.texts) > 10
    assert "long" not in index.store.documents()
    with monkeypatch.context() as patch:
        went_on = Stopping(patch)
        index = VectorIndex.open(index.database)
        added = index.add([LONG], embedder)
    assert (added.num_new, added.num_begun) == (1, 0)
    assert len(stopped.texts) + len(went_on.texts) == added.num_passages
    assert not set(stopped.texts) & set(went_on.texts)
    resumed = vectors_of(index)
    index.delete(["long"])
    index.add([LONG], embedder)
    whole = vectors_of(index)
    assert whole.keys() == resumed.keys()
    for name, vector in whole.items():  # of other batches
        np.testing.assert_allclose(vector, resumed[name], atol=1e-5)
    assert not index.database.begun_file().exists()  # type: ignore[union-attr]


def test_what_was_begun_of_another_text_or_another_model_is_not_taken(
    index: VectorIndex, database: LanceDatabase, embedder: Embedder, other: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_a_thousand_chars(monkeypatch)
    with monkeypatch.context() as patch:
        Stopping(patch, calls=5)
        with pytest.raises(KeyboardInterrupt):
            index.add([LONG], embedder)
    begun = database.begun_file().read_bytes()
    changed = replace(LONG, text=LONG.text.replace("grey", "blue"))
    with monkeypatch.context() as patch:
        anew = Stopping(patch)
        assert index.add([changed], embedder).num_passages == len(anew.texts)
    moved = reindex(database, other)
    database.begun_file().write_bytes(begun)
    with monkeypatch.context() as patch:
        anew = Stopping(patch)
        assert moved.add([LONG], other).num_passages == len(anew.texts)


def test_a_move_that_was_stopped_in_a_long_document_embeds_only_the_rest(
    index: VectorIndex, database: LanceDatabase, embedder: Embedder, other: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add([LONG], embedder)
    put_a_thousand_chars(monkeypatch)
    with monkeypatch.context() as patch:
        stopped = Stopping(patch, calls=12)
        with pytest.raises(KeyboardInterrupt):
            reindex(database, other)
    assert database.begun_file().exists()
    with monkeypatch.context() as patch:
        went_on = Stopping(patch)
        moved = reindex(database, other)
    again = set(stopped.texts) & set(went_on.texts)
    assert again == {"a wren"}  # with which each move asks what the dimensions are
    assert len(stopped.texts) + len(went_on.texts) - 2 == moved.info().facts.num_passages
    assert not database.begun_file().exists()


def test_an_index_that_was_stopped_in_a_document_is_removed_with_all_that_was_begun(
    index: VectorIndex, database: LanceDatabase, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_a_thousand_chars(monkeypatch)
    with monkeypatch.context() as patch:
        Stopping(patch, calls=5)
        with pytest.raises(KeyboardInterrupt):
            index.add([LONG], embedder)
    assert database.begun_file().stat().st_mode & 0o777 == 0o600
    assert not index.remove()
    assert not Path(database.place).exists()
