"""The folders behind the routes of indexes: whose they are, what cannot be read or written, and what clients learn."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing import Embedder
from farthing.core.settings import ServerSettings
from farthing.toolkit.index.index import VectorIndex, remove_index
from farthing.toolkit.stores.lance.database import LanceDatabase

DOCUMENTS = [{"id": "p1", "text": "Open the settings."}, {"id": "p2", "text": "Parcels arrive.", "metadata": {"y": 2}}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "indexes"


@pytest.fixture(scope="module")
def embedder(tiny_qwen3: Path) -> Iterator[Embedder]:
    with Embedder(str(tiny_qwen3)) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(launch_load: Any, folder: Path, tiny_qwen3: Path) -> Iterator[httpx.Client]:
    settings = ServerSettings(index_folder=str(folder))
    with (
        launch_load(lambda: Embedder(str(tiny_qwen3)), name="tiny", server=settings) as running,
        httpx.Client(base_url=running.url, timeout=60) as session,
    ):
        yield session


@pytest.fixture
def name(client: httpx.Client, folder: Path) -> Iterator[str]:
    """Of an index with the documents in it."""
    assert client.post("/v1/indexes", json={"name": "help"}).status_code == 200
    assert client.post("/v1/indexes/help/documents", json={"documents": DOCUMENTS}).status_code == 200
    yield "help"
    shutil.rmtree(folder / "help", ignore_errors=True)


def told(answer: httpx.Response, folder: Path) -> tuple[int, str]:
    """Status and code of an error, whose message names no folder of the server."""
    message = answer.json()["error"]["message"]
    assert not any(part in message for part in (str(folder), "/rustc/", "Errno", "unexpected"))
    return answer.status_code, answer.json()["error"]["code"]


# --- whose folder it is -----------------------------------------------------------------------------------------------


def test_a_folder_of_somebody_else_is_neither_taken_over_nor_removed(client: httpx.Client, folder: Path) -> None:
    (folder / "other" / "data-1").mkdir(parents=True)
    (folder / "other" / "data-1" / "survey.csv").write_text("mine")
    answer = client.post("/v1/indexes", json={"name": "other"})
    assert told(answer, folder) == (409, "index_place_taken")
    assert "The folder other is not empty (it holds data-1)" in answer.json()["error"]["message"]
    assert told(client.delete("/v1/indexes/other"), folder) == (404, "index_not_found")
    assert [path.name for path in (folder / "other").rglob("*")] == ["data-1", "survey.csv"]
    shutil.rmtree(folder / "other")


def test_files_beside_an_index_stay_when_it_is_removed_and_are_named(
    client: httpx.Client, folder: Path, name: str
) -> None:
    (folder / name / "thesis.txt").write_text("mine")
    (folder / name / "src").mkdir()
    assert client.delete(f"/v1/indexes/{name}").json() == {"deleted": 1, "kept": ["src", "thesis.txt"]}
    assert sorted(path.name for path in (folder / name).iterdir()) == ["src", "thesis.txt"]
    assert client.get(f"/v1/indexes/{name}").status_code == 404
    assert told(client.post("/v1/indexes", json={"name": name}), folder) == (409, "index_place_taken")


def test_links_and_files_are_no_names_of_indexes(client: httpx.Client, folder: Path, name: str) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (folder / "link").symlink_to(elsewhere)
    (folder / "dangling").symlink_to(folder.parent / "nothing")
    (folder / "linked").symlink_to(folder / name)
    (folder / "afile").write_text("mine")
    for taken in ("link", "dangling", "afile"):
        assert told(client.post("/v1/indexes", json={"name": taken}), folder) == (409, "index_place_taken")
        for answer in (
            client.get(f"/v1/indexes/{taken}"),
            client.delete(f"/v1/indexes/{taken}"),
            client.post(f"/v1/indexes/{taken}/search", json={"query": "x"}),
        ):
            assert told(answer, folder) == (404, "index_not_found")
    assert told(client.delete("/v1/indexes/linked"), folder) == (409, "index_place_taken")
    assert list(elsewhere.iterdir()) == []
    assert client.get(f"/v1/indexes/{name}").json()["num_documents"] == 2
    for taken in ("link", "dangling", "linked", "afile"):
        (folder / taken).unlink()


def test_indexes_are_for_their_owner_alone(client: httpx.Client, folder: Path, name: str) -> None:
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (folder / name, *(folder / name).iterdir())
    }
    assert set(modes.values()) == {0}, modes


# --- what cannot be read ----------------------------------------------------------------------------------------------

DAMAGES: dict[str, Callable[[Path], object]] = {
    "manifest cut": lambda path: (path / "farthing-index.json").write_text('{"layout": 1, "da'),
    "manifest empty": lambda path: (path / "farthing-index.json").write_bytes(b""),
    "manifest not UTF-8": lambda path: (path / "farthing-index.json").write_bytes(b"\xff\xfe"),
    "manifest deep": lambda path: (path / "farthing-index.json").write_text("[" * 60_000),
    "manifest huge": lambda path: os.truncate(path / "farthing-index.json", 2**36),
    "manifest of another version": lambda path: changed(path, layout=99),
    "data outside": lambda path: changed(path, data=str(path.parent.parent / "victim-2")),
    "data gone": lambda path: shutil.rmtree(path / "data-1"),
    "table zeroed": lambda path: [file.write_bytes(bytes(100)) for file in path.glob("data-1/*/_versions/*.manifest")],
    "columns cut": lambda path: [os.truncate(file, 50) for file in path.glob("data-1/*/data/*")],
}


def changed(path: Path, **fields: object) -> None:
    file = path / "farthing-index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_index_that_cannot_be_read_disturbs_no_other_and_can_be_removed(
    client: httpx.Client, folder: Path, name: str, damage: str
) -> None:
    assert client.post("/v1/indexes", json={"name": "whole"}).status_code == 200
    victims = [folder.parent / "victim-1" / "mine", folder.parent / "victim-2" / "mine"]
    for victim in victims:
        victim.mkdir(parents=True, exist_ok=True)
    DAMAGES[damage](folder / name)
    found = client.get("/v1/indexes")
    assert found.status_code == 200
    assert [card["name"] for card in found.json()["data"]] == ["whole"]
    (broken,) = found.json()["broken"]
    assert (broken["name"], broken["code"]) == (name, "index_unreadable")
    assert "help" in broken["message"]
    assert str(folder) not in found.text
    url = f"/v1/indexes/{name}"
    for answer in (
        client.get(url),
        client.post(f"{url}/search", json={"query": "x", "mode": "keyword"}),
        client.post(f"{url}/search", json={"query": "x"}),
        client.post(f"{url}/documents", json={"documents": DOCUMENTS}),
        client.post(f"{url}/documents/delete", json={"ids": ["p1"]}),
        client.post(f"{url}/compact"),
    ):
        # LanceDB has some of what it read before in memory.
        is_kept = damage in ("columns cut", "table zeroed") and answer.status_code == 200
        assert is_kept or told(answer, folder) == (409, "index_unreadable"), answer.text
    assert told(client.post("/v1/indexes", json={"name": name}), folder)[0] == 409
    assert client.delete(url).json() == {"deleted": 1}
    assert not (folder / name).exists()
    assert all(victim.is_dir() for victim in victims)
    client.delete("/v1/indexes/whole")
    assert client.get("/v1/indexes").json() == {"object": "list", "data": [], "broken": []}


def test_an_index_that_another_process_made_anew_is_found_in_every_mode(
    client: httpx.Client, folder: Path, name: str, embedder: Embedder
) -> None:
    query = {"query": "parcels"}
    assert client.post(f"/v1/indexes/{name}/search", json=query).json()["data"]
    facts = client.get(f"/v1/indexes/{name}").json()
    database = LanceDatabase(str(folder / name))
    remove_index(database)
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        client.post(f"/v1/indexes/{name}/search", json=query).raise_for_status()
    from farthing.toolkit.documents.document import Document

    VectorIndex.create(database, embedder).add([Document("n1", "Parcels go."), Document("n2", "None.")], embedder)
    assert client.get(f"/v1/indexes/{name}").json()["num_documents"] == facts["num_documents"]
    for mode in ("hybrid", "vector", "keyword"):
        found = client.post(f"/v1/indexes/{name}/search", json={**query, "mode": mode}).json()["data"]
        assert {result["document"] for result in found} <= {"n1", "n2"}
        assert found[0]["document"] == "n1"


# --- conditions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (["a=1"] * 65, "at most 64"),
        (["a=1"] * 50_000, "'where' has 50,000 items"),
        (["year = b" + " " * 1_000_000 + "c"], "at most 4,096"),
        ([" " * 16_000], "at most 4,096"),
        (["year = " + "1" * 4000], "a number has at most 64"),
        (["year < 1e999"], "no number"),
        (["year => 5"], "FIELD OPERATOR VALUE"),
    ],
)
def test_conditions_have_limits(client: httpx.Client, name: str, where: list[str], words: str) -> None:
    for mode in ("hybrid", "vector", "keyword"):
        answer = client.post(f"/v1/indexes/{name}/search", json={"query": "parcels", "mode": mode, "where": where})
        assert answer.status_code == 400
        assert words in answer.json()["error"]["message"]
        assert len(answer.text) < 1000


def test_as_many_conditions_as_are_taken_are_answered(client: httpx.Client, name: str) -> None:
    where = ["y >= 2", *[f"y < {number}" for number in range(3, 66)]]
    for mode in ("hybrid", "vector", "keyword"):
        answer = client.post(f"/v1/indexes/{name}/search", json={"query": "parcels", "mode": mode, "where": where})
        assert [result["document"] for result in answer.json()["data"]] == ["p2"]


def test_very_many_documents_are_taken_out_at_once(client: httpx.Client, name: str) -> None:
    ids = [f"{'x' * 20}{number}" for number in range(9_990)]
    answer = client.post(f"/v1/indexes/{name}/documents/delete", json={"ids": [*ids, "p1", "p2", "p1"]})
    assert answer.json() == {"deleted": 2}


# --- what cannot be written -------------------------------------------------------------------------------------------

SERVED = """
import json, os, sys, threading, traceback
import httpx
from farthing.cli.main import run

port, model = sys.argv[1:]
url = f"http://127.0.0.1:{port}"

def told(answer):
    body = answer.json()
    return [answer.status_code, body["error"]["code"] if "error" in body else "done"]

def answers():
    with httpx.Client(base_url=url, timeout=60) as client:
        while True:
            try:
                if client.get("/health").json()["status"] == "ready":
                    break
            except httpx.TransportError:
                pass
        one = {"documents": [{"id": "a", "text": "a wren"}]}
        many = {"documents": [{"id": str(n), "text": "a crow"} for n in range(5)]}
        found = [told(client.post("/v1/indexes", json={"name": "help"}))]
        found.append(told(client.post("/v1/indexes/help/documents", json=one)))
        fill = os.open("/mnt/fill", os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(fill, bytes(4096)):
                pass
        except OSError:
            os.close(fill)
        full = client.post("/v1/indexes/help/documents", json=many)
        found += [told(full), told(client.post("/v1/indexes", json={"name": "new"}))]
        message = full.json()["error"]["message"]
        found.append("The disk is full" in message and "No document was added" in message and "/mnt" not in message)
        found.append(sorted(os.listdir("/mnt/indexes")))
        os.remove("/mnt/fill")
        found.append(client.get("/v1/indexes/help").json()["num_documents"])
        assert os.system("mount -o remount,ro /mnt") == 0
        for method, path, body in (
            ("POST", "/help/documents", {"documents": [{"id": "b", "text": "b"}]}),
            ("POST", "/help/documents/delete", {"ids": ["a"]}),
            ("POST", "/help/compact", None),
            ("DELETE", "/help", None),
            ("POST", "", {"name": "new"}),
        ):
            answer = client.request(method, "/v1/indexes" + path, json=body)
            found.append([*told(answer), "/mnt" in answer.text])
        found.append(told(client.post("/v1/indexes/help/search", json={"query": "a wren"})))
    print(json.dumps(found), flush=True)

def answer_and_end():
    try:
        answers()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

threading.Thread(target=answer_and_end).start()
run(["serve", model, "--port", port, "--index-folder", "/mnt/indexes"])
"""


def test_a_full_disk_and_one_that_is_read_only_are_said(tiny_qwen3: Path, unused_port: int) -> None:
    """On a file system of its own, in a user namespace, where this system allows that."""
    mounted = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=2m none /mnt && exec "$@"', "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*mounted, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no file system can be mounted here")
    command = [*mounted, sys.executable, "-c", SERVED, str(unused_port), str(tiny_qwen3)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    refused = [403, "index_not_accessible", False]
    assert json.loads(done.stdout.splitlines()[-1]) == [
        [200, "done"], [200, "done"], [507, "disk_full"], [507, "disk_full"], True, ["help"], 1,
        refused, refused, refused, refused, refused, [200, "done"],
    ]  # fmt: skip


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
