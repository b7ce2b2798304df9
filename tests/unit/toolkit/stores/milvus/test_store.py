"""What is Milvus's own: documents that are put in several steps, filter expressions, and what its fields hold."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from few_passages import DIMENSIONS, held, passages_of, put, unit
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.core.errors import InputError, VectorIndexError
from farthing.toolkit.stores.comparable import comparable
from farthing.toolkit.stores.milvus import store as milvus_store
from farthing.toolkit.stores.milvus.connection import MilvusConnection
from farthing.toolkit.stores.milvus.database import MilvusDatabase
from farthing.toolkit.stores.milvus.rows import expression, schema, vector_indexes, word_tokens
from farthing.toolkit.stores.milvus.store import MilvusStore
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.where import Condition, Operator
from tiers import examples

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text("\\\"'`\n\r\t[]{}$%_ aé战\u0000", min_size=1)
values = texts | st.booleans() | st.integers() | st.floats(allow_nan=False)


@pytest.fixture
def store(milvus_place: str) -> MilvusStore:
    return MilvusDatabase(milvus_place).open("data-1", DIMENSIONS)


@pytest.fixture(scope="module")
def shared_store(milvus_places: Iterator[str]) -> MilvusStore:
    return MilvusDatabase(next(milvus_places)).open("data-1", DIMENSIONS)


# --- whole documents --------------------------------------------------------------------------------------------------


def test_a_document_with_passages_left_of_the_old_one_is_put_anew(
    store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, passages_of("a", 3))
    with monkeypatch.context() as patched:
        patched.setattr(MilvusStore, "_delete_rows", interrupted)
        with pytest.raises(KeyboardInterrupt):
            put(store, passages_of("a", 2, "2"))
    assert len(held(store)["a"]) == 3
    assert store.digests(["a"]) == {"a": ""}
    put(store, passages_of("a", 2, "2"))
    assert (store.digests(["a"]), held(store)) == ({"a": "2"}, {"a": passages_of("a", 2, "2")})


def test_a_document_that_is_there_in_part_is_put_anew(store: MilvusStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus_store, "ROWS_A_REQUEST", 2)
    call, num_upserts = MilvusConnection.call, 0

    def call_twice(milvus: MilvusConnection, method: str, *args: object, **kwargs: object) -> object:
        nonlocal num_upserts
        num_upserts += method == "upsert"
        if num_upserts == 3:
            raise KeyboardInterrupt
        return call(milvus, method, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(MilvusConnection, "call", call_twice)
        with pytest.raises(KeyboardInterrupt):
            put(store, passages_of("a", 5))
    assert len(held(store)["a"]) == 4
    assert store.digests(["a"]) == {"a": ""}
    put(store, passages_of("a", 5))
    assert (store.digests(["a"]), held(store)) == ({"a": "1"}, {"a": passages_of("a", 5)})


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_passages_of_a_document_follow_each_other_whatever_documents_are_called(store: MilvusStore) -> None:
    put(store, [*passages_of("a", 12), *passages_of("a#1x", 2)])
    order = [passage for page in store.passages(batch_size=5) for passage in page]
    documents = [passage.document for passage in order]
    assert sorted(documents) == documents or sorted(documents, reverse=True) == documents
    assert held(store)["a"] == passages_of("a", 12)


def test_a_collection_that_was_made_in_part_is_made_whole(milvus_place: str) -> None:
    database = MilvusDatabase(milvus_place)
    milvus, name = MilvusConnection(milvus_place.removeprefix("milvus:").rpartition("/")[0]), database._collection("x")
    milvus.call("create_collection", name, schema=schema(DIMENSIONS))
    one = vector_indexes(True)
    one.pop()
    milvus.call("create_index", name, one)
    store = database.open("x", DIMENSIONS)
    put(store, passages_of("a", 1))
    assert sorted(milvus.call("list_indexes", name)) == ["vector", "word_weights"]
    assert len(store.matching("a", 3)) == len(store.nearest(unit(1)[0], 3)) == 1


WRITER = """
import sys
import numpy as np
from farthing.toolkit.stores.database import open_database
from farthing.toolkit.stores.passage import Passage

def passages_of(name, digest):
    return [Passage(f"{name}#{place}", name, digest, "x" * 5000) for place in range(3)]

store = open_database(sys.argv[1]).open("data-1", 16)
for number in range(100000):
    names = {f"d{number}", f"d{number // 2}"}  # one that is new, one that is there
    passages = [passage for name in names for passage in passages_of(name, str(number))]
    store.put(passages, ["word"] * len(passages), np.full((len(passages), 16), 0.25, dtype=np.float32))
    print(number, flush=True)
"""


def test_what_a_killed_writer_had_put_is_there(tmp_path: Path) -> None:
    place = f"milvus:{tmp_path}/vectors.db/i"
    with subprocess.Popen([sys.executable, "-c", WRITER, place], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        last = next(int(line) for line in writer.stdout if line.strip() == "20")
        time.sleep(0.013)
        writer.kill()
        rest = writer.stdout.read().split()
    last = int(rest[-1]) if rest else last
    store = MilvusDatabase(place).open("data-1", DIMENSIONS)
    names = [f"d{number}" for number in range(last + 1)]
    assert set(held(store)) >= set(names)
    # What was being written when it was killed is whole or known not to be.
    for name, digest in store.digests(names).items():
        assert not digest or [passage.digest for passage in held(store)[name]] == [digest] * 3
    assert sum(not digest for digest in store.digests(names).values()) <= 1


# --- conditions -------------------------------------------------------------------------------------------------------


@given(field=texts, value=values)
@settings(max_examples=examples(60), deadline=None, derandomize=True)
def test_any_field_and_value_can_be_asked_for(shared_store: MilvusStore, field: str, value: str | float) -> None:
    other = f"{value}x"
    put(shared_store, passages_of("a", 1, metadata={field: value}))
    put(shared_store, passages_of("b", 1, metadata={field: other}))
    put(shared_store, passages_of("c", 1, metadata={f"{field}x": value}))

    def found(operator: Operator, wanted: str | float) -> set[str]:
        hits = shared_store.nearest(unit(1)[0], 5, [Condition(field, operator, wanted)])
        return {hit.passage.document for hit in hits}

    assert found("=", value) == found("<=", value) - {"b"} == found(">=", value) - {"b"} == {"a"}
    assert found("!=", value) == ({"b"} if isinstance(value, str) else set())
    assert found("=", other) == {"b"}


def test_several_conditions_must_all_hold(store: MilvusStore) -> None:
    put(store, passages_of("a", 1, metadata={"year": 2025, "shop": "x"}))
    put(store, passages_of("b", 1, metadata={"year": 2026, "shop": "x"}))
    where = [Condition("year", ">", 2025), Condition("shop", "=", "x")]
    assert [hit.passage.document for hit in store.nearest(unit(1)[0], 5, where)] == ["b"]


def test_a_condition_asks_whether_there_is_the_field_at_all() -> None:
    # Milvus Lite answers as well without; on a server != would find what has not the field.
    alone = '(exists metadata["number:a"] and metadata["number:a"] != 1.0)'
    listed = '(exists metadata["numbers:a"] and not json_contains_any(metadata["numbers:a"], [1.0]))'
    assert expression(Condition("a", "!=", 1)) == f"({alone} or {listed})"


def test_numbers_that_json_has_not_are_kept_but_not_asked_for(store: MilvusStore) -> None:
    assert comparable({"nan": float("nan"), "inf": -float("inf")}) == {"number:inf": -sys.float_info.max}
    metadata = {"nan": float("nan"), "inf": float("inf"), "big": 10**400}
    put(store, passages_of("a", 1, metadata=metadata))
    assert json.dumps(dict(held(store)["a"][0].metadata)) == json.dumps(metadata)
    where = [Condition("inf", ">", 1e300), Condition("big", ">", 1e300)]
    assert len(store.nearest(unit(1)[0], 5, where)) == 1


# --- what fields hold -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words", "named"),
    [
        ({"text": "é" * 33_000}, "w", "passage"),
        ({"document": "d" * 70_000}, "w", "document"),
        ({"metadata": {"m": "x" * 65_530}}, "w", "metadata"),
        ({}, "word " * 14_000, "words"),
    ],
)
def test_a_passage_that_is_too_long_for_a_server_is_refused(
    store: MilvusStore, fields: dict[str, object], words: str, named: str
) -> None:
    passage = replace(Passage("a#0", "a", "1", "text", source="f.md"), **fields)
    with pytest.raises(InputError, match=rf"f\.md: {named} of a passage takes [67]\d,\d+ bytes.*65,535.*--max-tokens"):
        store.put([passage], [words], unit(1))
    assert held(store) == {}


def test_a_long_passage_is_held(store: MilvusStore) -> None:
    passage = Passage("a#0", "a", "1", "é" * 32_000)
    put(store, [passage])
    assert held(store) == {"a": [passage]}


def test_words_are_tokens_that_no_analyzer_cuts() -> None:
    tokens = word_tokens("cat 战国 it's naïve 战国").split()
    assert tokens[0] == "cat"
    assert tokens[1] == tokens[4] != tokens[3]
    assert all(token.isascii() and token.isalnum() for token in tokens)


def test_bm25_counts_words_as_it_should(store: MilvusStore) -> None:
    put(store, passages_of("a", 3), ["战国 cat", "cat cat dog", "dog"])
    store.build()
    scores = {hit.passage.id: hit.score for hit in store.matching("cat", 5)}
    # Lucene's formula with k1 = 1.2 and b = 0.75; lengths 2, 3, 1.
    idf = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    expected = {
        f"a#{place}": idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / 2))
        for place, count, length in ((0, 1, 2), (1, 2, 3))
    }
    assert scores == pytest.approx(expected, rel=1e-4)


def test_more_hits_than_a_server_gives_are_not_asked_for(store: MilvusStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, passages_of("a", 2))
    call, limits = MilvusConnection.call, []

    def seen(milvus: MilvusConnection, method: str, *args: object, **kwargs: object) -> object:
        limits.append(kwargs["limit"])
        return call(milvus, method, *args, **kwargs)

    monkeypatch.setattr(MilvusConnection, "call", seen)
    assert len(store.nearest(unit(1)[0], 1_000_000)) == 2
    assert limits == [16_384]


def test_a_refused_request_is_an_error_that_says_where(store: MilvusStore) -> None:
    with pytest.raises(VectorIndexError, match=r"Milvus at .*vectors\.db: .*dim"):
        store.put(passages_of("a", 1), ["w"], np.ones((1, DIMENSIONS + 1), dtype=np.float32))
