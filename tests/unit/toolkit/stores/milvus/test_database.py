"""Places on Milvus: what names one, what is said when it cannot be reached, and an index's verbs on Milvus Lite."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pymilvus
import pytest
from few_documents import DOCUMENTS
from milvus_lite.adapter.grpc.server import start_server_in_thread
from pymilvus import MilvusClient
from pymilvus.client.types import Status
from pymilvus.exceptions import MilvusException

from farthing import Embedder, Index
from farthing.core.errors import (
    FarthingError,
    IndexBusyError,
    IndexExistsError,
    IndexNotFoundError,
    IndexPlaceError,
    MissingExtraError,
    SettingsError,
    UnreadableIndexError,
    VectorIndexError,
)
from farthing.toolkit.stores.database import open_database
from farthing.toolkit.stores.milvus.connection import CONNECT_TIMEOUT_S, LITE_TIMEOUT_S
from farthing.toolkit.stores.milvus.database import MilvusDatabase, identifier


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server: Milvus Lite's, which takes requests of any process."""
    running, data, port = start_server_in_thread(str(tmp_path_factory.mktemp("server")))
    yield f"http://127.0.0.1:{port}"
    running.stop(grace=0).wait()
    data.close()


@pytest.mark.parametrize("kind", ["file", "server"])
def test_an_index_on_milvus_does_what_one_in_a_folder_does(
    kind: str, milvus_place: str, server: str, tmp_path: Path, embedder: Embedder, starter_dir: Path
) -> None:
    if kind == "server":
        milvus_place = f"milvus:{server}/index-1"
    with Index.create(milvus_place, embedder) as index, Index.create(str(tmp_path / "folder"), embedder) as folder:
        for each in (index, folder):
            assert each.add(DOCUMENTS).num_new == 4
            assert each.add(DOCUMENTS).num_unchanged == 4
        for query, where in (("wren song", []), ("密码", []), ("tower", ["metres >= 330"]), ("bird", ["grams != 9"])):
            found = [result.passage for result in index.search(query, where=where)]
            assert found == [result.passage for result in folder.search(query, where=where)]
        assert index.search("crow", mode="keyword")[0].passage.document == "crow"
        assert index.delete("crow", "nothing") == 1
        index.compact()
        with pytest.raises(IndexExistsError):
            Index.create(milvus_place, embedder)
        index.reindex(str(starter_dir))
        assert index.search("重置密码", 1)[0].passage.document == "密码"
        assert index.info().facts[:3] == (3, 7, 0)
        assert (index.info().facts.num_bytes is None) == (kind == "server")
    with Index(milvus_place, str(starter_dir)) as again:
        assert again.search("a small bird that sings", 1, mode="vector")[0].passage.document == "wren"
        again._index.remove()
    with pytest.raises(IndexNotFoundError, match=r"farthing index create milvus:.*/index-\d+ --model"):
        Index(milvus_place)


def test_removing_an_index_leaves_those_of_similar_names(milvus_place: str) -> None:
    names = ["x_1", "x-1", "xx1", "x_", "x_10"]
    databases = {name: MilvusDatabase(f"{milvus_place}{name}") for name in names}
    for name, database in databases.items():
        database.write("note", name)
        database.open("data-1", 4)
    databases["x_1"].remove()
    assert databases["x_1"].read("note") is None
    assert [databases[name].read("note") for name in names[1:]] == names[1:]
    collections = databases["x-1"]._milvus.call("list_collections")
    assert {databases[name]._collection("data-1") in collections for name in names[1:]} == {True}
    assert databases["x_1"]._collection("data-1") not in collections


def test_a_note_is_kept_replaced_and_removed(milvus_place: str) -> None:
    database = MilvusDatabase(milvus_place)
    assert database.read("note") is None
    database.write("note", "'\"\n战国")
    assert MilvusDatabase(milvus_place).read("note") == "'\"\n战国"
    database.write("note", "2")
    assert database.read("note") == "2"
    database.write("note", None)
    assert database.read("note") is None


def test_different_names_are_different_identifiers() -> None:
    names = ["a-b", "a_b", "a.b", "a_2db", "ab", "A-b"]
    assert len({identifier(name) for name in names}) == len(names)
    assert all("__" not in identifier(name) and identifier(name).replace("_", "").isalnum() for name in names)


def test_one_thread_changes_an_index_at_a_time(milvus_place: str) -> None:
    with MilvusDatabase(milvus_place).writing(), pytest.raises(IndexBusyError, match="milvus:"):
        MilvusDatabase(milvus_place).writing().__enter__()


def test_milvus_lite_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        open_database(f"milvus:{tmp_path}/vectors.db/help").write("note", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "vectors.db").stat().st_mode & 0o077 == 0


def test_a_collection_that_farthing_did_not_make_is_in_the_way_and_stays(milvus_place: str) -> None:
    from pymilvus import DataType, MilvusClient

    database = MilvusDatabase(milvus_place)
    database.check_free()
    fields = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    fields.add_field("id", DataType.INT64, is_primary=True)
    fields.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    name = database._collection("data-1")
    database._milvus.call("create_collection", name, schema=fields)
    with pytest.raises(IndexPlaceError, match=name):
        database.check_free()
    database.drop("data-1")
    database.write("farthing-index", "x")
    assert database.remove() == [name]
    assert database.has("data-1")


def test_data_that_is_missing_is_an_error(milvus_place: str, embedder: Embedder) -> None:
    with Index.create(milvus_place, embedder) as index:
        index.add(["a wren"])
        MilvusDatabase(milvus_place).drop("data-1")
    with pytest.raises(UnreadableIndexError):
        Index(milvus_place, embedder)


def test_looking_for_an_index_makes_nothing(tmp_path: Path) -> None:
    assert open_database(f"milvus:{tmp_path}/typo/vectors.db/help").read("note") is None
    assert not list(tmp_path.iterdir())


def test_on_a_server_an_index_is_not_made_by_looking_for_it_either(server: str) -> None:
    with pytest.raises(IndexNotFoundError):
        Index(f"milvus:{server}/nothing")


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        ("milvus:http://localhost:19530", SettingsError, "names no index. Give milvus:URI/NAME"),
        ("milvus:http://localhost:19530/", SettingsError, "names no index. Give milvus:URI/NAME"),
        ("milvus:help", SettingsError, "names no index. Give milvus:URI/NAME"),
        ("milvus:./vectors/help", SettingsError, "a path that ends in .db: milvus:./vectors.db/NAME"),
        ("milvus:ftp://host/help", SettingsError, "'ftp://host' is no address of Milvus"),
        ("milvus:http://me:secret@localhost:1/help", VectorIndexError, "Milvus at http://me:***@localhost:1: Fail"),
        ("milvus:http://me:secret@localhost:1/a b", SettingsError, "http://me:***@localhost:1/a b names no index"),
        ("milvus:me:secret@localhost:1/help", SettingsError, "'me:***@localhost:1' is no address"),
        ("milvus:http://me:s/secret@localhost:1/help", SettingsError, "'http://me:***@localhost:1' is no address"),
        ("milvus:http://localhost:x/help", SettingsError, "'http://localhost:x' is no address"),
    ],
)
def test_what_is_wrong_with_a_place_is_said_without_its_password(
    place: str, error: type[FarthingError], message: str
) -> None:
    with pytest.raises(error) as raised:
        open_database(place).read("note")
    assert message in str(raised.value)
    assert "secret" not in str(raised.value)


def test_milvus_lite_that_another_process_has_open_is_busy(tmp_path: Path) -> None:
    place = f"milvus:{tmp_path}/vectors.db/help"
    command = (
        "import sys; from farthing.toolkit.stores.database import open_database; "
        "open_database(sys.argv[1]).write('note', 'x'); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", command, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(IndexBusyError, match=r"Another process has .*vectors\.db open"):
            open_database(place).read("note")
        other.communicate()
    assert open_database(place).read("note") == "x"


def test_milvus_lite_that_answers_late_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts_s = []

    class LateOnce(MilvusClient):
        def __init__(self, uri: str, timeout: float) -> None:
            timeouts_s.append(timeout)
            super().__init__(uri, timeout=timeout)
            if len(timeouts_s) == 1:  # it runs, and its folder is locked, by this process
                raise MilvusException(Status.CONNECT_FAILED, "Fail connecting to server")

    monkeypatch.setattr(pymilvus, "MilvusClient", LateOnce)
    database = open_database(f"milvus:{tmp_path}/vectors.db/help")
    database.write("note", "x")
    assert database.read("note") == "x"
    assert timeouts_s == [CONNECT_TIMEOUT_S, LITE_TIMEOUT_S]


def test_milvus_lite_that_never_answers_is_not_said_to_be_another_process_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Never(MilvusClient):
        def __init__(self, uri: str, timeout: float) -> None:
            raise MilvusException(Status.CONNECT_FAILED, f"Fail connecting to server in {timeout} s: {uri}")

    monkeypatch.setattr(pymilvus, "MilvusClient", Never)
    with pytest.raises(VectorIndexError, match="Fail connecting to server") as raised:
        open_database(f"milvus:{tmp_path}/vectors.db/help").write("note", "x")
    assert not isinstance(raised.value, IndexBusyError)


def test_what_is_no_milvus_lite_is_said(tmp_path: Path) -> None:
    (tmp_path / "vectors.db").write_text("something else")
    with pytest.raises(VectorIndexError, match=r"Milvus Lite cannot open .*vectors\.db"):
        open_database(f"milvus:{tmp_path}/vectors.db/help").read("note")


@pytest.mark.parametrize("module", ["pymilvus", "milvus_lite"])
def test_without_pymilvus_the_error_names_the_extra(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"farthing\[milvus\]"):
        open_database(f"milvus:{tmp_path}/vectors.db/help")
