"""What every kind of store does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from few_passages import DIMENSIONS, held, passages_of, put, unit

from farthing.toolkit.stores.database import open_database
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.store import Candidates, Found, Store
from farthing.toolkit.stores.where import Condition, Operator, parse_conditions

OpenStore = Callable[[], Store]


@pytest.fixture(params=["lance", "milvus"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the same store, as another process would."""
    place = request.getfixturevalue("milvus_place") if request.param == "milvus" else str(tmp_path / "index")
    return lambda: open_database(place).open("data-1", DIMENSIONS)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


def test_a_passage_comes_back_as_it_was_put(store: Store) -> None:
    passage = Passage(
        "a'b#0", "a'b", "7", "Zeile 1\nZeile 2 \u0000 '\"", "títle", "f.md", "Head > Sub", 3, 20,
        {"price": 12.5, "number": 3, "new": True, "shop": "it's", "tags": ["b", "", "a", "b", 1, True, 0.5]},
    )  # fmt: skip
    put(store, [passage])
    assert held(store) == {"a'b": [passage]}
    assert store.digests(["a'b", "other"]) == {"a'b": "7"}


def test_a_document_that_is_put_again_takes_the_place_of_the_old_one(store: Store) -> None:
    put(store, [*passages_of("a", 3), *passages_of("b", 2)])
    newer = [*passages_of("a", 1, "2"), *passages_of("c", 2)]
    put(store, newer)
    assert held(store) == {"a": newer[:1], "b": passages_of("b", 2), "c": newer[1:]}
    assert store.digests(["a", "b", "c"]) == {"a": "2", "b": "1", "c": "1"}


def test_all_passages_come_whole_documents_at_a_time_whatever_was_replaced(store: Store) -> None:
    put(store, [passage for number in range(40) for passage in passages_of(f"d{number}", 3)])
    store.build()
    put(store, [passage for number in range(0, 40, 2) for passage in passages_of(f"d{number}", 5, "2")])
    found = [passage.document for batch in store.passages() for passage in batch]
    assert len(found) == 20 * 3 + 20 * 5
    assert len([name for name, _ in itertools.groupby(found)]) == 40


def test_deleting_says_how_many_there_were(store: Store) -> None:
    put(store, [*passages_of("a", 3), *passages_of("b", 2)])
    assert store.delete(["a", "nothing"]) == 1
    assert store.delete(["a"]) == 0
    assert set(held(store)) == {"b"}


def test_it_is_there_when_it_is_opened_again(store: Store, open_store: OpenStore) -> None:
    vectors = put(store, passages_of("a", 3))
    store.build()
    again = open_store()
    assert held(again) == held(store)
    assert again.nearest(vectors[1], 1)[0].passage.id == "a#1"


def test_the_nearest_are_those_of_a_comparison_with_all(store: Store) -> None:
    passages = passages_of("a", 300)
    vectors = put(store, passages)
    query = unit(1)[0]
    best = np.argsort(-(vectors @ query))[:10]
    found = store.nearest(query, 10)
    assert [one.passage for one in found] == [passages[index] for index in best]
    np.testing.assert_allclose([one.score for one in found], (vectors @ query)[best], atol=1e-5)


def test_candidates_are_the_nearest_and_the_matching_with_exact_scores_of_both_kinds(store: Store) -> None:
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


def test_candidates_tell_which_of_some_words_they_have(store: Store) -> None:
    words = ["parcel lost", "parcel 退款 x²", "label"]
    vectors = put(store, [passage for name in "abc" for passage in passages_of(name, 1)], words)
    store.build()
    found = store.candidates(vectors[0], "parcel", 10)
    of_documents = {passage.document: key for key, passage in zip(found.cosines, found.read(list(found.cosines)))}  # noqa: B905
    keys = [of_documents[name] for name in "cab"]
    some = ["lost", "parcel", "退款", "x²", "nowhere"]
    assert found.held(keys, some) == [set(), {"lost", "parcel"}, {"parcel", "退款", "x²"}]
    assert found.held([], some) == []


def test_candidates_are_read_as_they_were_found_whatever_happens_in_between(store: Store) -> None:
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


def test_a_document_that_another_writer_put_is_known(store: Store, open_store: OpenStore) -> None:
    put(store, passages_of("a", 1))
    put(open_store(), passages_of("b", 1))
    put(store, passages_of("c", 1))
    assert set(store.digests(["a", "b", "c", "d"])) == {"a", "b", "c"}
    store.delete(["b"])
    assert set(store.digests(["a", "b", "c"])) == {"a", "c"}


def test_words_find_what_was_put_before_and_after_building(store: Store) -> None:
    put(store, passages_of("a", 1), ["战国 无双"])
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
    store: Store, field: str, operator: Operator, value: Any, documents: set[str]
) -> None:
    put(store, passages_of("a", 1, metadata={"shop": "books", "price": 12.5, "new": True}))
    put(store, passages_of("b", 1, metadata={"shop": "it's", "price": 30, "new": False}))
    put(store, passages_of("c", 1))
    store.build()
    where = [Condition(field, operator, value)]
    assert {one.passage.document for one in store.nearest(unit(1)[0], 5, where)} == documents
    assert {one.passage.document for one in store.matching("word", 5, where)} == documents


CELLS = {
    "price": ["19.90", "20.00", "19.95", "20", "1e3", "+5", ".5", " 7", "-3.50", "abc"],
    "stock": ["true", "True", "FALSE", "yes"],
    "zip": ["00720", "720", "0720"],
    "version": ["1.9", "1.10", "1.10.1", "v1.2.0", "2", "old"],
    "said": ['a "b"', "a 'b'", "C:\\temp", "a\\", "null"],
    "number": ["9007199254740993", "9007199254740992", "123456789012345678901234567890", "7"],
}


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        ("price <= 20", ["19.90", "20.00", "19.95", "20", "+5", ".5", " 7", "-3.50"]),
        ("price = 20", ["20.00", "20"]),
        ("price = 20.00", ["20.00", "20"]),
        ('price = "20.00"', ["20.00"]),
        ("price >= 1000", ["1e3"]),
        ("price != 20", ["19.90", "19.95", "1e3", "+5", ".5", " 7", "-3.50"]),
        ("price = abc", ["abc"]),
        ("stock = true", ["true", "True"]),
        ("stock = False", ["FALSE"]),
        ("stock != true", ["FALSE"]),
        ('stock = "True"', ["True"]),
        ("stock = yes", ["yes"]),
        ("zip = 00720", ["00720"]),
        ("zip = 720", ["720"]),
        ("version >= 1.10.0", ["1.10.1"]),
        ("version > 1.9.9", ["1.10", "1.10.1"]),
        ("version < 1.9.9", ["1.9", "v1.2.0"]),
        ("version >= v1.1.0", ["1.9", "1.10", "1.10.1", "v1.2.0"]),
        ("version = 1.10.1", ["1.10.1"]),
        ('version = "1.10"', ["1.10"]),
        (r'said = "a \"b\""', ['a "b"']),
        (r"said = 'a \'b\''", ["a 'b'"]),
        (r'said = "C:\temp"', ["C:\\temp"]),
        (r'said = "a\\"', ["a\\"]),
        ('said = "null"', ["null"]),
        (r'said > "a \"a"', ['a "b"', "a 'b'", "a\\", "null"]),
        ("number = 9007199254740993", ["9007199254740993"]),
        ("number > 9007199254740992", ["9007199254740993", "123456789012345678901234567890"]),
        ("number != 9007199254740992", ["9007199254740993", "123456789012345678901234567890", "7"]),
        ("number = 123456789012345678901234567891", []),
        ("number < 8", ["7"]),
    ],
)
def test_a_text_meets_conditions_on_what_it_spells(store: Store, condition: str, values: list[str]) -> None:
    (where,) = parse_conditions([condition])
    cells = CELLS[where.field]
    put(store, [replace(passages_of(cell, 1)[0], metadata={where.field: cell}) for cell in cells])
    assert {one.passage.document for one in store.nearest(unit(1)[0], len(cells), [where])} == set(values)


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        (f"number = {2**53 + 1}", [2**53 + 1]),
        (f"number < {2**53 + 1}", [2**53, 7, 0.5, -(2**53) - 1, -(2**62)]),
        (f"number >= {2**62}", [2**62]),
        (f"number <= {-(2**53) - 1}", [-(2**53) - 1, -(2**62)]),
        (f"number != {2**53}", [2**53 + 1, 2**62, 7, 0.5, -(2**53) - 1, -(2**62)]),
        ("number = 7.0", [7]),
        ('number = "7"', []),
    ],
)
def test_whole_numbers_of_any_size_are_compared_exactly(store: Store, condition: str, numbers: list[float]) -> None:
    given = [2**53, 2**53 + 1, 2**62, 7, 0.5, -(2**53) - 1, -(2**62)]
    put(store, [replace(passages_of(str(number), 1)[0], metadata={"number": number}) for number in given])
    found = store.nearest(unit(1)[0], len(given), parse_conditions([condition]))
    assert {one.passage.document for one in found} == set(map(str, numbers))


TAGGED = {
    "two": ["x", "y"],
    "one": ["y"],
    "alone": "x",
    "mixed": ["z", 7, True, 0.5],
    "cells": ["19.90", "1.10.2", "FALSE", "é"],
    "long": [2**60 + 1, 5, -(2**55) - 1],
    "below": [-3, 0],
}


@pytest.mark.parametrize(
    ("condition", "documents"),
    [
        ("tags = x", {"two", "alone"}),
        ("tags = y", {"two", "one"}),
        ("tags != x", {"one", "mixed", "cells"}),
        ("tags != y", {"alone", "mixed", "cells"}),
        ("tags >= y", {"two", "one", "mixed", "cells"}),
        ("tags < x", {"cells"}),
        ("tags = 7", {"mixed"}),
        ("tags = 7.0", {"mixed"}),
        ('tags = "7"', set()),
        ("tags != 7", {"cells", "long", "below"}),
        ("tags > 6", {"mixed", "cells", "long"}),
        ("tags <= -3", {"long", "below"}),
        ("tags = -3", {"below"}),
        ("tags != -3", {"mixed", "cells", "long"}),
        ("tags = -0.0", {"below"}),
        ("tags = true", {"mixed"}),
        ("tags = false", {"cells"}),
        ("tags != true", {"cells"}),
        ("tags = 19.9", {"cells"}),
        ('tags = "19.90"', {"cells"}),
        ('tags = "19.9"', set()),
        ("tags >= 1.10.0", {"cells"}),
        ("tags < 1.10.0", set()),
        (f"tags = {2**60 + 1}", {"long"}),
        (f"tags = {2**60}", set()),
        (f"tags != {2**60}", {"mixed", "cells", "long", "below"}),
        (f"tags != {2**60 + 1}", {"mixed", "cells", "below"}),
        (f"tags < {2**55}", {"mixed", "cells", "long", "below"}),
        (f"tags > {2**55}", {"long"}),
        (f"tags >= {2**60 + 2}", set()),
        (f"tags <= {-(2**55) - 1}", {"long"}),
        (f"tags < {-(2**55) - 1}", set()),
        ("tag = x", set()),
    ],
)
def test_a_list_meets_what_one_of_its_values_meets(store: Store, condition: str, documents: set[str]) -> None:
    put(store, [passages_of(name, 1, metadata={"tags": ["x", 7]})[0] for name in TAGGED])
    put(store, [passages_of(name, 1, "2", metadata={"tags": tags})[0] for name, tags in TAGGED.items()])
    put(store, passages_of("none", 1))
    store.build()
    where = parse_conditions([condition])
    for found in (
        store.nearest(unit(1)[0], 10, where),
        store.matching("word", 10, where),
        read(store.candidates(unit(1)[0], "word", 10, where)),
    ):
        assert {one.passage.document for one in found} == documents


ODD_TEXTS = [
    "",
    " ",
    "'",
    '"',
    "\\",
    '\\"',
    "\n",
    "\t",
    "$.x",
    "[0]",
    "0",
    "null",
    "true",
    "é",
    "😀",
    "{}",
    "%",
    "a,b",
    ":",
]


def test_any_text_can_be_in_a_list_and_any_text_be_its_name(store: Store) -> None:
    fields = {f"n{number} {text}": [text, "more"] for number, text in enumerate(ODD_TEXTS)}
    put(store, passages_of("all", 1, metadata=fields))
    put(store, passages_of("other", 1, metadata={name: ["more", "x"] for name in fields}))
    for name, (text, _) in fields.items():
        for operator, wanted, documents in (
            ("=", text, {"all"}),
            ("!=", text, {"other"}),
            ("=", "more", {"all", "other"}),
            ("=", f"{text}.", set()),
        ):
            where = [Condition(name, operator, wanted)]
            found = {one.passage.document for one in store.nearest(unit(1)[0], 5, where)}
            assert found == documents, (name, operator, wanted)


def test_as_many_conditions_as_are_taken_are_all_met(store: Store) -> None:
    put(store, passages_of("a", 1, metadata={"price": 12.5, "pages": 10}))
    put(store, passages_of("b", 1, metadata={"price": [90, 12.5], "pages": [11, 11.5]}))
    store.build()
    where = [Condition("price", "<=", 13), *[Condition("pages", "!=", 12 + number) for number in range(62)]]
    for last, documents in ((Condition("pages", "<", 11), {"a"}), (Condition("pages", "=", 10**29), set())):
        for found in (
            store.nearest(unit(1)[0], 5, [*where, last]),
            store.matching("word", 5, [*where, last]),
            read(store.candidates(unit(1)[0], "word", 5, [*where, last])),
        ):
            assert {one.passage.document for one in found} == documents


def read(candidates: Candidates) -> list[Found]:
    keys = list(candidates.cosines)
    return [Found(passage, 0.0) for passage in candidates.read(keys)]


def test_any_number_of_documents_is_taken_out_in_bounded_steps(store: Store) -> None:
    put(store, passages_of("a", 2))
    put(store, passages_of("b", 1))
    names = [f"{'x' * 60}{number}" for number in range(3_000)]
    assert store.delete([*names, "a", "a", *names]) == 1
    assert store.digests([*names, "b"]) == {"b": "1"}


def test_an_empty_store_answers(store: Store) -> None:
    store.build()
    store.put([], [], unit(0))
    assert (store.nearest(unit(1)[0], 3), store.matching("a", 3), held(store)) == (
        [], [], {},
    )  # fmt: skip
    assert store.facts()[:3] == (0, 0, 0)


def test_it_says_which_fields_there_are_and_of_which_kind(store: Store) -> None:
    assert not store.has_any(["text:shop", "number:price"])
    fields = {"price": 12.5, 'it\'s "new"': True, "sku": "007", "tags": ["x", 7]}
    put(store, [replace(passages_of("a", 1)[0], metadata=fields)])
    put(store, passages_of("b", 1))
    for keys, is_there in (
        (["number:price"], True),
        (["text:price"], False),
        (["text:shop", "number:price"], True),
        (['bool:it\'s "new"'], True),
        (["text:sku"], True),
        (["number:sku", "long:sku", "version:sku"], False),
        (["texts:tags"], True),
        (["text:tags", "greatest number:tags"], True),
        (["text:tags", "bools:tags", "longs:tags"], False),
    ):
        assert store.has_any(keys) is is_there, keys
    assert store.sample_fields(10) >= fields.keys()
