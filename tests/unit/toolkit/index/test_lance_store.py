from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing.core.errors import MissingExtraError
from farthing.toolkit.index import lance_store
from farthing.toolkit.index.held_documents import HeldDocuments
from farthing.toolkit.index.lance_store import LanceStore
from farthing.toolkit.index.passage import Passage
from farthing.toolkit.index.where import Condition, Operator

DIMENSIONS = 16
random = np.random.default_rng(0)


def unit(num: int) -> np.ndarray:
    rows = random.standard_normal((num, DIMENSIONS)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def passages_of(document: str, num: int, digest: str = "1", **fields: Any) -> list[Passage]:
    return [
        Passage(f"{document}#{place}", document, digest, f"text {place} of {document}", **fields)
        for place in range(num)
    ]


def put(store: LanceStore, passages: Sequence[Passage], words: Sequence[str] | None = None) -> np.ndarray:
    vectors = unit(len(passages))
    store.put(passages, words or [f"word {passage.document}" for passage in passages], vectors)
    return vectors


def held(store: LanceStore) -> dict[str, list[Passage]]:
    found = defaultdict(list)
    for batch in store.passages():
        for passage in batch:
            found[passage.document].append(passage)
    return dict(found)


@pytest.fixture
def store(tmp_path: Path) -> LanceStore:
    return LanceStore(tmp_path / "store", DIMENSIONS)


def test_a_passage_comes_back_as_it_was_put(store: LanceStore) -> None:
    passage = Passage(
        "a'b#0", "a'b", "7", "Zeile 1\nZeile 2 \u0000 '\"", "títle", "f.md", "Head > Sub", 3, 20,
        {"price": 12.5, "number": 3, "new": True, "shop": "it's"},
    )  # fmt: skip
    put(store, [passage])
    assert held(store) == {"a'b": [passage]}
    assert store.digests(["a'b", "other"]) == {"a'b": "7"}


def test_a_document_that_is_put_again_takes_the_place_of_the_old_one(store: LanceStore) -> None:
    put(store, [*passages_of("a", 3), *passages_of("b", 2)])
    newer = [*passages_of("a", 1, "2"), *passages_of("c", 2)]
    put(store, newer)
    assert held(store) == {"a": newer[:1], "b": passages_of("b", 2), "c": newer[1:]}
    assert store.digests(["a", "b", "c"]) == {"a": "2", "b": "1", "c": "1"}


def test_deleting_says_how_many_there_were(store: LanceStore) -> None:
    put(store, [*passages_of("a", 3), *passages_of("b", 2)])
    assert store.delete(["a", "nothing"]) == 1
    assert store.delete(["a"]) == 0
    assert set(held(store)) == {"b"}


def test_it_is_there_when_the_folder_is_opened_again(store: LanceStore, tmp_path: Path) -> None:
    vectors = put(store, passages_of("a", 3))
    store.build()
    again = LanceStore(tmp_path / "store", DIMENSIONS)
    assert held(again) == held(store)
    assert again.nearest(vectors[1], 1)[0].passage.id == "a#1"


def test_the_nearest_are_those_of_a_comparison_with_all(store: LanceStore) -> None:
    passages = passages_of("a", 300)
    vectors = put(store, passages)
    query = unit(1)[0]
    best = np.argsort(-(vectors @ query))[:10]
    found = store.nearest(query, 10)
    assert [one.passage for one in found] == [passages[index] for index in best]
    np.testing.assert_allclose([one.score for one in found], (vectors @ query)[best], atol=1e-5)


def test_candidates_are_the_nearest_and_the_matching_with_exact_scores_of_both_kinds(store: LanceStore) -> None:
    passages = passages_of("a", 300)
    vectors = put(store, passages, [f"word w{place}" for place in range(300)])
    store.build()
    query = unit(1)[0]
    order = np.argsort(-(vectors @ query))
    found = store.candidates(query, f"w{order[0]} w{order[200]}", 10)
    near = store.nearest(query, 10)
    read = found.read(list(found.cosines))
    assert read[:10] == [one.passage for one in near]
    assert read[10:] == [passages[order[200]]]
    np.testing.assert_allclose(list(found.cosines.values()), (vectors @ query)[[*order[:10], order[200]]], atol=1e-5)
    matching = {one.passage.id: one.score for one in store.matching(f"w{order[0]} w{order[200]}", 10)}
    bm25 = zip(found.read(list(found.bm25)), found.bm25.values(), strict=True)
    assert {passage.id: score for passage, score in bm25} == matching
    assert found.read([]) == []


def test_candidates_are_read_as_they_were_found_whatever_happens_in_between(store: LanceStore) -> None:
    old = [*passages_of("a", 3), *passages_of("b", 3)]
    put(store, old)
    put(store, passages_of("c", 1))
    store.build()
    found = store.candidates(unit(1)[0], "word", 7)
    put(store, [replace(passage, text="new") for passage in passages_of("a", 3, "2")])
    store.delete(["b"])
    store.build()  # which gives rows other ids
    read = found.read(list(found.cosines))
    assert {passage.id: passage for passage in read} == {
        passage.id: passage for passage in [*old, *passages_of("c", 1)]
    }
    now = store.candidates(unit(1)[0], "word", 7)
    assert {passage.text for passage in now.read(list(now.cosines))} == {"new", "text 0 of c"}


def test_a_document_that_another_writer_put_is_known(store: LanceStore, tmp_path: Path) -> None:
    put(store, passages_of("a", 1))
    put(LanceStore(tmp_path / "store", DIMENSIONS), passages_of("b", 1))
    put(store, passages_of("c", 1))
    assert set(store.digests(["a", "b", "c", "d"])) == {"a", "b", "c"}
    store.delete(["b"])
    assert set(store.digests(["a", "b", "c"])) == {"a", "c"}


def test_new_documents_are_told_without_reading_what_is_held(
    store: LanceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, passages_of("a", 1))
    reads = 0
    read = HeldDocuments._read

    def counted(held: HeldDocuments) -> None:
        nonlocal reads
        reads += 1
        read(held)

    monkeypatch.setattr(HeldDocuments, "_read", counted)
    monkeypatch.setattr(LanceStore, "_rows", None)  # asking the table for ids would fail
    for number in range(5):
        put(store, passages_of(f"new {number}", 1))
    assert reads <= 1
    assert set(held(store)) == {"a", *(f"new {number}" for number in range(5))}


def test_with_an_index_scores_are_still_exact_cosines(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_store, "EXACT_ROWS", 100)
    passages = [replace(passage, start=place) for place, passage in enumerate(passages_of("a", 1000))]
    vectors = put(store, passages)
    store.build()
    put(store, passages_of("later", 1))
    assert store.facts().num_unindexed == 1
    query = vectors[123]
    found = store.nearest(query, 10)
    assert found[0].passage == passages[123]
    exact = [float(query @ vectors[one.passage.start]) for one in found]
    np.testing.assert_allclose([one.score for one in found], exact, atol=1e-5)


def test_words_find_what_was_put_before_and_after_the_index(store: LanceStore) -> None:
    put(store, passages_of("a", 1), ["战国 无双"])
    assert store.matching("战国", 5) == []  # nothing is built yet
    store.build()
    put(store, passages_of("b", 1), ["战国 cat cat"])
    put(store, passages_of("c", 1), ["dog"])
    assert {one.passage.document for one in store.matching("战国", 5)} == {"a", "b"}
    assert [one.passage.document for one in store.matching("cat", 5)] == ["b"]
    assert store.matching("", 5) == []
    assert store.matching('AND ( " nothing', 5) == []
    store.build()
    assert store.facts().num_unindexed == 0
    best = store.matching("战国 cat", 1)
    assert [one.passage.document for one in best] == ["b"]
    assert best[0].score > 0


@pytest.mark.parametrize(
    ("field", "operator", "value", "documents"),
    [
        ("shop", "=", "books", {"a"}),
        ("shop", "!=", "books", {"b"}),
        ("shop", "=", "it's", {"b"}),
        ("price", "<=", 12.5, {"a"}),
        ("price", ">", 12, {"a", "b"}),
        ("new", "=", True, {"a"}),
        ("price", "=", "12.5", set()),
        ("shop", "<", 5, set()),
        ("nothing", "!=", "x", set()),
        ("x') OR true --", "=", "y", set()),
        ("shop", "=", "' OR '1'='1", set()),
    ],
)
def test_conditions_choose_by_field_and_type(
    store: LanceStore, field: str, operator: Operator, value: Any, documents: set[str]
) -> None:
    put(store, passages_of("a", 1, metadata={"shop": "books", "price": 12.5, "new": True}))
    put(store, passages_of("b", 1, metadata={"shop": "it's", "price": 30, "new": False}))
    put(store, passages_of("c", 1))
    store.build()
    where = [Condition(field, operator, value)]
    assert {one.passage.document for one in store.nearest(unit(1)[0], 5, where)} == documents
    assert {one.passage.document for one in store.matching("word", 5, where)} == documents


def test_building_gives_back_what_was_replaced(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_store, "KEEP_VERSIONS", timedelta(milliseconds=1))
    for digest in range(10):
        put(store, [replace(passage, text="x" * 1000) for passage in passages_of("a", 100, str(digest))])
    before = store.facts()
    store.build()
    after = store.facts()
    assert (after.num_documents, after.num_passages) == (before.num_documents, before.num_passages) == (1, 100)
    assert after.num_bytes < before.num_bytes / 2


def test_an_empty_store_answers(store: LanceStore) -> None:
    store.build()
    store.put([], [], unit(0))
    assert (store.nearest(unit(1)[0], 3), store.matching("a", 3), held(store)) == (
        [], [], {},
    )  # fmt: skip
    assert store.facts()[:3] == (0, 0, 0)


WRITER = """
import sys
from pathlib import Path
import numpy as np
from farthing.toolkit.index.held_documents import HeldDocuments
from farthing.toolkit.index.lance_store import LanceStore
from farthing.toolkit.index.passage import Passage

def passages_of(name, digest):
    return [Passage(f"{name}#{place}", name, digest, "x" * 5000) for place in range(3)]

store = LanceStore(Path(sys.argv[1]), 16)
for number in range(100000):
    names = {f"d{number}", f"d{number // 2}"}  # one that is new, one that is there
    passages = [passage for name in names for passage in passages_of(name, str(number))]
    store.put(passages, ["word"] * len(passages), np.full((len(passages), 16), 0.25, dtype=np.float32))
    print(number, flush=True)
"""


@pytest.mark.parametrize("wait_s", [0.0, 0.013, 0.05])
def test_a_writer_that_is_killed_leaves_whole_documents(tmp_path: Path, wait_s: float) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        last = next(int(line) for line in writer.stdout if line.strip() == "6")
        time.sleep(wait_s)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    last = int(rest[-1]) if rest else last
    store = LanceStore(tmp_path, DIMENSIONS)
    found = held(store)
    assert set(found) >= {f"d{number}" for number in range(last + 1)}
    assert {len(passages) for passages in found.values()} == {3}
    assert all(len({passage.digest for passage in passages}) == 1 for passages in found.values())
    put(store, passages_of("after", 2))
    store.build()
    assert len(store.matching("word", 1000)) == 3 * len(found) + 2


def test_without_lancedb_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(MissingExtraError, match=r"farthing\[search\]"):
        LanceStore(tmp_path, DIMENSIONS)
