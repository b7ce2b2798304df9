from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from few_passages import DIMENSIONS, held, passages_of, put

from farthing.core.errors import MissingExtraError
from farthing.toolkit.stores.lance import store as lance_store
from farthing.toolkit.stores.lance.held_documents import HeldDocuments
from farthing.toolkit.stores.lance.rows import ROWS_AT_A_TIME, one_of, table_of
from farthing.toolkit.stores.lance.store import LanceStore


@pytest.fixture
def store(tmp_path: Path) -> LanceStore:
    return LanceStore(tmp_path / "store", DIMENSIONS)


def test_words_find_what_was_put_before_their_index_is_built(store: LanceStore) -> None:
    """As in an index whose adding was killed."""
    assert store.matching("cat", 5) == []
    put(store, passages_of("a", 1), ["cat"])
    assert store.facts().num_unindexed == 1
    assert len(store.matching("cat", 5)) == 1
    store.build()
    assert store.facts().num_unindexed == 0
    assert len(store.matching("cat", 5)) == 1


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
    monkeypatch.undo()
    assert set(held(store)) == {"a", *(f"new {number}" for number in range(5))}


def test_with_an_index_scores_are_still_exact_cosines(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_store, "EXACT_ROWS", 100)
    passages = [replace(passage, start=place) for place, passage in enumerate(passages_of("a", 1000))]
    vectors = put(store, passages)
    store.build()
    later = put(store, passages_of("later", 1))
    assert store.facts().num_unindexed == 1
    query = vectors[123]
    found = store.nearest(query, 10)
    assert found[0].passage == passages[123]
    exact = [
        float(query @ (later[0] if one.passage.document == "later" else vectors[one.passage.start])) for one in found
    ]
    np.testing.assert_allclose([one.score for one in found], exact, atol=1e-5)


def test_building_gives_back_what_was_replaced(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_store, "KEEP_VERSIONS", timedelta(milliseconds=1))
    for digest in range(10):
        put(store, [replace(passage, text="x" * 1000) for passage in passages_of("a", 100, str(digest))])
    before = store.facts()
    store.build()
    after = store.facts()
    assert (after.num_documents, after.num_passages) == (before.num_documents, before.num_passages) == (1, 100)
    assert after.num_bytes < before.num_bytes / 2


WRITER = """
import sys
from pathlib import Path
import numpy as np
from farthing.toolkit.stores.lance.held_documents import HeldDocuments
from farthing.toolkit.stores.lance.store import LanceStore
from farthing.toolkit.stores.passage import Passage

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


def test_very_many_documents_are_found_and_taken_out_some_at_a_time(
    store: LanceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lance_store, "IDS_AT_A_TIME", 100)
    passages = [passage for number in range(250) for passage in passages_of(f"d{number}", 1)]
    put(store, passages)
    most = 0

    def counted(column: str, values: Sequence[str]) -> str:
        nonlocal most
        most = max(most, len(values))
        return one_of(column, values)

    monkeypatch.setattr(lance_store, "one_of", counted)
    names = [f"d{number}" for number in range(250)]
    assert set(store.digests(names)) == set(names)
    assert store.delete(names[:-1]) == 249
    assert most == 100
    assert set(held(store)) == {"d249"}


def test_without_lancedb_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(MissingExtraError, match=r"farthing\[search\]"):
        LanceStore(tmp_path, DIMENSIONS)


def test_rows_of_many_passages_are_made_in_parts() -> None:
    """Other threads have their turn between them."""
    passages = passages_of("a", 2 * ROWS_AT_A_TIME + 1)
    vectors = np.arange(len(passages) * 2, dtype=np.float32).reshape(-1, 2)
    rows = table_of(passages, [str(number) for number in range(len(passages))], vectors)
    assert rows.column("id").num_chunks == 3
    assert rows.column("id").to_pylist() == [passage.id for passage in passages]
    assert rows.column("words").to_pylist() == [str(number) for number in range(len(passages))]
    assert np.array_equal(np.array(rows.column("vector").to_pylist()), vectors)
