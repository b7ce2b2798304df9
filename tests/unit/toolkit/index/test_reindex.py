from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from farthing import Embedder
from farthing.core.errors import IndexBusyError
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.toolkit.documents.document import Document
from farthing.toolkit.index import reindex as module
from farthing.toolkit.index.index import VectorIndex
from farthing.toolkit.index.reindex import reindex
from farthing.toolkit.index.search import Query, search
from farthing.toolkit.index.unknown_words import UnknownWords
from farthing.toolkit.stores.lance.database import LanceDatabase
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.where import Condition


def passages(index: VectorIndex) -> list[Passage]:
    return sorted(itertools.chain.from_iterable(index.store.passages()), key=lambda passage: passage.id)


@pytest.fixture
def starter(starter_dir: Path) -> Embedder:
    return Embedder(str(starter_dir))


def test_the_same_passages_have_vectors_of_the_new_model(
    index: VectorIndex, database: LanceDatabase, starter: Embedder
) -> None:
    before, done = passages(index), []
    moved = reindex(database, starter, on_batch=done.append)
    opened = VectorIndex.open(database)
    assert passages(opened) == passages(moved) == before
    assert done[-1] == len(before)
    assert opened.manifest.space.id == starter.space.id
    assert opened.manifest.splitting == index.manifest.splitting
    results = search(opened, Query("which bird sings loudly?"), starter)
    assert results[0].passage.document == "wren"
    assert [path.name for path in Path(database.place).glob("data-*")] == ["data-2"]


def test_lists_are_asked_for_in_the_moved_index_too(
    index: VectorIndex, database: LanceDatabase, embedder: Embedder, starter: Embedder
) -> None:
    metadata = {"tags": ["small", "grey"]}
    index.add([Document("tit", "A small bird.", metadata=metadata)], embedder)
    moved = reindex(database, starter)
    found = search(moved, Query("bird", where=[Condition("tags", "=", "grey")]), starter)
    assert [(result.passage.document, result.passage.metadata) for result in found] == [("tit", metadata)]


def test_words_that_the_new_model_does_not_know_are_counted(
    index: VectorIndex, database: LanceDatabase, embedder: Embedder, starter: Embedder
) -> None:
    index.add([Document("long", "x" * 120)], embedder)  # a word of more than 100 letters is one unknown token
    unknown = UnknownWords.to(starter)
    reindex(database, starter, unknown=unknown)
    assert unknown.num_unknown_tokens >= 1
    assert unknown.num_passages == 1
    assert unknown.num_tokens > 100


def test_a_move_that_was_stopped_goes_on_and_the_old_index_answers_meanwhile(
    index: VectorIndex, database: LanceDatabase, embedder: Embedder, starter: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DOCUMENTS_AT_A_TIME", 1)
    before, encoded = passages(index), list[str]()
    encode = Embedder.encode_request

    def failing(self: Embedder, request: EmbedRequest, **options: bool) -> EmbedResult:
        if len(encoded) >= 2 and self is starter:
            raise KeyboardInterrupt
        encoded.extend(map(str, request.inputs))
        return encode(self, request, **options)

    monkeypatch.setattr(Embedder, "encode_request", failing)
    with pytest.raises(KeyboardInterrupt):
        reindex(database, starter)
    monkeypatch.setattr(Embedder, "encode_request", encode)
    assert search(VectorIndex.open(database), Query("wren", mode="keyword"))[0].passage.document == "wren"
    assert len(search(VectorIndex.open(database), Query("wren", mode="vector"), embedder)) == 4

    def watched(self: Embedder, request: EmbedRequest, **options: bool) -> EmbedResult:
        encoded.extend(map(str, request.inputs))
        return encode(self, request, **options)

    monkeypatch.setattr(Embedder, "encode_request", watched)
    VectorIndex.open(database).delete(["wren"])
    before = [passage for passage in before if passage.document != "wren"]
    moved = reindex(database, starter)
    assert passages(moved) == before
    embedded = [text for text in encoded if text != "a wren"]
    assert len(embedded) == len(set(embedded))


def test_a_move_to_a_third_model_does_not_go_on_with_the_second_s_vectors(
    index: VectorIndex, database: LanceDatabase, starter: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VectorIndex, "embed_with", stop)
    with pytest.raises(KeyboardInterrupt):
        reindex(database, starter, dimensions=128)
    monkeypatch.undo()
    assert reindex(database, starter).dimensions == 384


def test_an_index_that_is_being_changed_is_not_moved(
    index: VectorIndex, database: LanceDatabase, starter: Embedder
) -> None:
    with LanceDatabase(database.place).writing(), pytest.raises(IndexBusyError):
        reindex(database, starter)


@pytest.mark.parametrize("content", ["{", '{"layout": 1, "data": "/home"}'])
def test_a_move_whose_own_description_is_garbled_begins_anew(
    content: str, index: VectorIndex, database: LanceDatabase, starter: Embedder
) -> None:
    before = passages(index)
    database.write("farthing-index-next", content)
    assert passages(reindex(database, starter)) == before
