"""The routes of indexes, on a server with an embedding model, another one, and a reranker."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from farthing import Embedder, Reranker
from farthing.cli.main import cli
from farthing.core.settings import ServerSettings
from farthing.server.indexes.library import CHANGE_THREADS_AND_PLACES, SEARCH_THREADS_AND_PLACES
from farthing.server.models.slot import ModelEntry

DOCUMENTS = [
    {
        "id": "p1",
        "title": "Forgotten password",
        "text": "Open the settings and choose a new one.",
        "metadata": {"y": 1},
    },
    {"id": "p2", "title": "Delivery", "text": "Parcels arrive within three working days.", "metadata": {"y": 2}},
    {"id": "p3", "title": "退货", "text": "收到商品后七天内可以退货。"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "indexes"


@pytest.fixture(scope="module")
def client(
    launch_load: Any, folder: Path, starter_dir: Path, tiny_qwen3: Path, tiny_reranker: Path
) -> Iterator[httpx.Client]:
    others = [
        ModelEntry("tiny", lambda: Embedder(str(tiny_qwen3)), task="embed", preload=False),
        ModelEntry("judge", lambda: Reranker(str(tiny_reranker)), task="rerank"),
    ]
    settings = ServerSettings(index_folder=str(folder))
    with (
        launch_load(lambda: Embedder(str(starter_dir)), name="minilm", others=others, server=settings) as running,
        httpx.Client(base_url=running.url, timeout=60) as session,
    ):
        yield session


@pytest.fixture
def name(client: httpx.Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of an index with the documents in it, which is removed afterwards."""
    found = f"i{abs(hash(request.node.name)) % 10**8}"
    assert client.post("/v1/indexes", json={"name": found}).status_code == 200
    assert client.post(f"/v1/indexes/{found}/documents", json={"documents": DOCUMENTS}).status_code == 200
    yield found
    client.delete(f"/v1/indexes/{found}")


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [result["document"] for result in answer.json()["data"]]


def search(client: httpx.Client, name: str, query: str, **more: object) -> httpx.Response:
    return client.post(f"/v1/indexes/{name}/search", json={"query": query, **more})


def test_an_index_is_made_filled_described_and_removed(client: httpx.Client) -> None:
    made = client.post("/v1/indexes", json={"name": "shop", "dimensions": 128, "max_tokens": 64}).json()
    assert made == {
        "name": "shop", "object": "index", "model": "minilm", "space": made["space"], "dimensions": 128,
        "max_tokens": 64, "overlap_tokens": 8, "num_documents": 0, "num_passages": 0, "num_unindexed": 0,
        "num_bytes": made["num_bytes"],
    }  # fmt: skip
    url = "/v1/indexes/shop"
    assert client.post(f"{url}/documents", json={"documents": DOCUMENTS}).json() == {
        "new": 3, "replaced": 0, "unchanged": 0, "passages": 3,
    }  # fmt: skip
    changed = [{**DOCUMENTS[0], "text": "Ask us."}, *DOCUMENTS[1:]]
    assert client.post(f"{url}/documents", json={"documents": changed}).json() == {
        "new": 0, "replaced": 1, "unchanged": 2, "passages": 1,
    }  # fmt: skip
    assert client.get(url).json()["num_documents"] == 3
    assert [index["name"] for index in client.get("/v1/indexes").json()["data"]] == ["shop"]
    assert client.post(f"{url}/compact").json()["num_unindexed"] == 0
    assert client.post(f"{url}/documents/delete", json={"ids": ["p1", "p2", "none"]}).json() == {"deleted": 2}
    assert ids(search(client, "shop", "anything")) == ["p3"]
    assert client.delete(url).json() == {"deleted": 1}
    assert client.get(url).status_code == 404
    assert client.get("/v1/indexes").json()["data"] == []


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_a_search_finds_the_passage_that_says_it(client: httpx.Client, name: str, mode: str) -> None:
    answer = search(client, name, "forgotten password", mode=mode, k=1)
    assert ids(answer) == ["p1"]
    (result,) = answer.json()["data"]
    assert result["title"] == "Forgotten password"
    assert result["metadata"] == {"y": 1}
    assert (result["cosine"] is None) == (mode == "keyword")


def test_what_was_searched_and_added_is_counted(client: httpx.Client, name: str) -> None:
    before = float(metric(client, "farthing_tokens_total"))
    search(client, name, "a password that nobody asked for before")
    assert float(metric(client, "farthing_tokens_total")) > before


def metric(client: httpx.Client, name: str) -> str:
    lines = client.get("/metrics").text.splitlines()
    return next(line.rpartition(" ")[2] for line in lines if line.startswith(name) and "minilm" in line)


def test_chinese_words_are_found_and_marked(client: httpx.Client, name: str) -> None:
    (result,) = search(client, name, "退货", mode="keyword").json()["data"]
    assert [result["excerpt"][first:last] for first, last in result["marks"]] == ["退货"]


def test_conditions_and_weights_are_taken(client: httpx.Client, name: str) -> None:
    assert ids(search(client, name, "password", where=["y >= 2"])) == ["p2"]
    by_words = search(client, name, "parcels", vector_weight=0, fusion="ranks").json()["data"][0]
    assert by_words["document"] == "p2"


def test_tags_come_back_as_they_were_sent_and_conditions_ask_for_each(client: httpx.Client, name: str) -> None:
    url = f"/v1/indexes/{name}/documents"
    metadata = {"tags": ["account", "login", 7, True, 0.5, "login"], "y": [3, 9]}
    with_null = {**metadata, "tags": [None, *metadata["tags"]], "none": [], "null": [None]}
    sent = [{**DOCUMENTS[0], "metadata": with_null}, {**DOCUMENTS[1], "metadata": {"tags": ["parcel"], "y": 2}}]
    assert client.post(url, json={"documents": sent}).json()["replaced"] == 2
    (result,) = search(client, name, "password", where=["tags = login"]).json()["data"]
    assert (result["document"], result["metadata"]) == ("p1", metadata)
    assert [type(value) for value in result["metadata"]["tags"]] == [str, str, int, bool, float, str]
    for where, documents in (
        (["tags != login"], ["p2"]),
        (["tags = 7"], ["p1"]),
        (["y > 5"], ["p1"]),
        (["y >= 2", "y < 4"], ["p1", "p2"]),
        (["tags = parcel", "tags = login"], []),
    ):
        assert sorted(ids(search(client, name, "password", where=where))) == documents, where
    sent[0]["metadata"] = metadata
    assert client.post(url, json={"documents": sent}).json()["unchanged"] == 2


@pytest.mark.parametrize("rerank", [True, "judge"])
def test_the_served_reranker_orders_the_best_anew(client: httpx.Client, name: str, rerank: object) -> None:
    found = search(client, name, "password", rerank=rerank).json()["data"]
    assert len(found) == 3
    assert all(result["score"] == result["relevance"] for result in found)


def test_an_index_of_another_served_model_is_searched_with_that_one(client: httpx.Client) -> None:
    assert client.post("/v1/indexes", json={"name": "tiny", "model": "tiny"}).json()["model"] == "tiny"
    client.post("/v1/indexes/tiny/documents", json={"documents": DOCUMENTS})
    assert len(ids(search(client, "tiny", "password", mode="vector"))) == 3
    client.delete("/v1/indexes/tiny")


def test_the_command_line_and_the_server_share_an_index(
    client: httpx.Client, folder: Path, starter_dir: Path, tmp_path: Path
) -> None:
    """Each sees what the other did, also when it moved the index to another model."""
    place = folder / "shared"
    run = CliRunner().invoke
    assert run(cli, ["index", "create", str(place), "--model", str(starter_dir)]).exit_code == 0
    client.post("/v1/indexes/shared/documents", json={"documents": DOCUMENTS[:2]})
    (tmp_path / "more.jsonl").write_text(json.dumps({"id": "p9", "text": "Gift cards are valid for a year."}))
    assert run(cli, ["index", "add", str(place), str(tmp_path / "more.jsonl")]).exit_code == 0
    deadline = time.monotonic() + 10  # what another process wrote is seen within a second
    while ids(search(client, "shared", "gift cards", k=1)) != ["p9"]:
        assert time.monotonic() < deadline
    assert run(cli, ["index", "reindex", str(place), "--dimensions", "64"]).exit_code == 0
    assert ids(search(client, "shared", "gift cards", k=1)) == ["p9"]
    assert client.get("/v1/indexes/shared").json()["dimensions"] == 64
    assert client.delete("/v1/indexes/shared").status_code == 200


def test_an_index_of_a_model_that_is_not_served_is_refused(client: httpx.Client, folder: Path) -> None:
    client.post("/v1/indexes", json={"name": "foreign"})
    file = folder / "foreign" / "farthing-index.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps({**fields, "model": "gone", "space": {**fields["space"], "fingerprint": "other"}}))
    answer = search(client, "foreign", "x")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "wrong_vector_space"
    assert "gone" in answer.json()["error"]["message"]
    assert ids(search(client, "foreign", "x", mode="keyword")) == []
    client.delete("/v1/indexes/foreign")


def test_many_clients_add_and_search_at_once(client: httpx.Client, name: str) -> None:
    failures: list[str] = []

    def add_and_search(number: int) -> None:
        documents = [{"id": f"d{number}-{place}", "text": f"word{number} number {place}"} for place in range(5)]
        for answer in (
            client.post(f"/v1/indexes/{name}/documents", json={"documents": documents}),
            search(client, name, f"word{number}", k=20),
        ):
            if answer.status_code != 200:
                failures.append(answer.text)

    threads = [threading.Thread(target=add_and_search, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert client.get(f"/v1/indexes/{name}").json()["num_documents"] == 43


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/v1/indexes/none/search", {"query": "x"}, 404, "There is no index 'none'"),
        ("POST", "/v1/indexes/none/documents", {"documents": DOCUMENTS}, 404, "There is no index 'none'"),
        ("DELETE", "/v1/indexes/none", None, 404, "There is no index 'none'"),
        ("POST", "/v1/indexes", {"name": "../up"}, 400, "cannot be the name of an index"),
        ("POST", "/v1/indexes", {"name": "a", "model": "gpt"}, 404, "has no model 'gpt'"),
        ("POST", "/v1/indexes", {"name": "a", "model": "judge"}, 400, "scores pairs"),
        ("POST", "/v1/indexes", {"name": "a", "max_tokens": 99999}, 400, "max_tokens is 99999"),
        ("POST", "/v1/indexes", {"name": "a", "dimensions": 99999}, 400, "dimensions"),
        ("POST", "/v1/indexes", {}, 400, "'name' is required"),
        ("POST", "/v1/indexes/NAME/documents", {"documents": []}, 400, "empty list"),
        ("POST", "/v1/indexes/NAME/documents", {"documents": [{"id": "x", "text": " "}]}, 400, "has no text"),
        ("POST", "/v1/indexes/NAME/documents", {"documents": [{"id": "x"}]}, 400, "'documents[0].text' is required"),
        ("POST", "/v1/indexes/NAME/documents", {"documents": [{"id": "", "text": "x"}]}, 400, "documents[0].id"),
        ("POST", "/v1/indexes/NAME/documents", {"documents": [{"id": "x", "text": "x", "kind": "cobol"}]}, 400, "kind"),
        ("POST", "/v1/indexes/NAME/search", {"query": " "}, 400, "query is empty"),
        ("POST", "/v1/indexes/NAME/search", {"query": "x", "k": 0}, 400, "'k' must be"),
        ("POST", "/v1/indexes/NAME/search", {"query": "x", "where": ["y"]}, 400, "FIELD OPERATOR VALUE"),
        (
            "POST",
            "/v1/indexes/NAME/search",
            {"query": "x", "where": ["yy > 1"]},
            400,
            "has the field 'yy'; there",
        ),
        ("POST", "/v1/indexes/NAME/search", {"query": "x", "where": ["y = much"]}, 400, "the field 'y' holds numbers"),
        ("POST", "/v1/indexes/NAME/search", {"query": "x", "rerank": "minilm"}, 400, "makes vectors"),
        ("POST", "/v1/indexes/NAME/search", {"query": "x", "top": 3}, 400, "Unknown parameter 'top'"),
    ],
)
def test_what_cannot_be_done_is_said(
    client: httpx.Client, name: str, method: str, path: str, body: object, status: int, words: str
) -> None:
    answer = client.request(method, path.replace("NAME", name), json=body)
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text


def test_there_is_one_index_of_a_name(client: httpx.Client, name: str) -> None:
    answer = client.post("/v1/indexes", json={"name": name})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "index_exists")


def test_without_a_folder_there_are_no_such_routes(server: Any) -> None:
    assert httpx.get(f"{server.url}/v1/indexes").status_code == 404


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("documents/delete", {"ids": [[]] * 120_000}, "'ids' has 120,000 items; one request takes at most 10,000"),
        ("documents/delete", {"ids": ["x"] * 10_001}, "'ids' has 10,001 items"),
        ("documents/delete", {"ids": ["x", 1.5]}, "'ids[1]' must be a string or an integer; got a number"),
        ("documents/delete", {"ids": "x"}, "'ids' must be a list; got a string"),
        ("documents", {"documents": [{}] * 100_000}, "'documents' has 100,000 items; one request takes at most 1,024"),
        ("documents", {"documents": [1]}, "'documents[0]' must be an object; got an integer"),
        ("documents", {"documents": [{"id": "x", "text": "x", "year": 1}]}, "Unknown field 'year' in 'documents[0]'"),
        ("documents", {"documents": [{str(n): n for n in range(100_000)}]}, "'documents[0]' has 100,000 fields"),
        ("documents", {"documents": [{str(n): n for n in range(900)}]}, "Unknown field '0' in 'documents[0]'"),
        (
            "documents",
            {"documents": [{"id": "x", "text": "x", "metadata": {str(n): [] for n in range(70_000)}}]},
            "'documents[0].metadata' has 70,000 fields; at most 256",
        ),
        (
            "documents",
            {"documents": [{"id": "x", "text": "x", "metadata": {"n": {}}}]},
            "'documents[0].metadata.n' must be a string, a number, a boolean, or a list of these; got an object",
        ),
        (
            "documents",
            {"documents": [{"id": "x", "text": "x", "metadata": {"n": ["a", None, []]}}]},
            "'documents[0].metadata.n[2]' must be a string, a number, or a boolean; got a list",
        ),
        (
            "documents",
            {"documents": [{"id": "x", "text": "x", "metadata": {"n": [None, *[{}] * 120_000]}}]},
            "'documents[0].metadata.n' has 120,000 values; at most 256 are taken",
        ),
        (
            "documents",
            {"documents": [{"id": 1.5, "text": "x"}]},
            "'documents[0].id' must be a string or an integer; got a number",
        ),
        ("documents", {"documents": [{"id": True, "text": "x"}]}, "'documents[0].id' must be a string or an integer"),
        ("documents", {"documents": [{"id": None, "text": "x"}]}, "'documents[0].id' must be a string or an integer"),
        ("documents", {"documents": [{"id": "x", "text": None}]}, "'documents[0].text' must be a valid string"),
        ("search", {"query": "x", "where": [1] * 64}, "'where[0]' must be a string; got an integer"),
        ("search", {"query": "x", "where": [1] * 190_000}, "'where' has 190,000 items; one request takes at most 64"),
        ("search", {"query": "x", "where": ["y > 0"] * 65}, "'where' has 65 items"),
        ("search", {"query": "x " * 10_000, "mode": "keyword"}, "The query has 20,000 characters; at most 10,000"),
        ("search", {"query": "x", "k": 1001}, "'k' must be less than or equal to 1000"),
    ],
)
def test_lists_are_looked_at_before_their_items(
    client: httpx.Client, name: str, path: str, body: object, words: str
) -> None:
    answer = client.post(f"/v1/indexes/{name}/{path}", json=body)
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (400, True), answer.text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"id": "i" * 1025}, "documents[1].id"),
        ({"title": "word " * 400_000}, "documents[1].title"),
        ({"source": "s" * 2_000_000}, "documents[1].source"),
        ({"metadata": {"n": "x" * 70_000}}, "documents[1].metadata"),
        ({"metadata": {"n": ["x" * 7_000] * 10}}, "documents[1].metadata"),
        ({"text": "x" * 10_000_001}, "documents[1].text"),
    ],
)
def test_a_field_that_is_too_large_is_named_and_nothing_is_added(
    client: httpx.Client, name: str, fields: dict[str, object], param: str
) -> None:
    documents = [{"id": "new", "text": "x"}, {"id": "large", "text": "x", **fields}]
    answer = client.post(f"/v1/indexes/{name}/documents", json={"documents": documents})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert "at most" in answer.json()["error"]["message"]
    assert client.get(f"/v1/indexes/{name}").json()["num_documents"] == 3


@pytest.mark.parametrize(
    ("document", "param", "words"),
    [
        ({"id": "1", "text": ""}, "documents[1].text", "documents[1]: document '1' has no text"),
        ({"id": "1", "text": "\u200b \n\ufeff"}, "documents[1].text", "has no text"),
        ({"id": "1", "text": "x", "kind": "cobol"}, "documents[1].kind", "'cobol'"),
        ({"id": "2", "text": "other"}, "documents[1].id", "has the id '2', as documents[0] has"),
        ({"id": 2, "text": "b", "metadata": {"y": True}}, "documents[1].id", "has the id '2'"),
    ],
)
def test_a_request_is_taken_whole_or_not_at_all(
    client: httpx.Client, name: str, document: dict[str, object], param: str, words: str
) -> None:
    """Whatever can be known of its documents is known before the first of them is put."""
    documents = [{"id": "2", "text": "b", "metadata": {"y": 1}}, document, {"id": "3", "text": "c"}]
    answer = client.post(f"/v1/indexes/{name}/documents", json={"documents": documents})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], words in error["message"]) == (400, param, True), answer.text
    assert client.get(f"/v1/indexes/{name}").json()["num_documents"] == 3


def test_the_same_document_twice_is_one(client: httpx.Client, name: str) -> None:
    documents = [{"id": "twice", "text": "b", "metadata": {"y": 1}}] * 2
    assert client.post(f"/v1/indexes/{name}/documents", json={"documents": documents}).json()["new"] == 1


def test_a_number_is_an_id_and_null_says_nothing(client: httpx.Client, name: str) -> None:
    url = f"/v1/indexes/{name}"
    sent = {"id": 1, "text": "a parrot", "title": None, "source": None, "kind": None, "metadata": {"a": None, "b": 0}}
    assert client.post(f"{url}/documents", json={"documents": [sent]}).json()["new"] == 1
    plain = {"id": "1", "text": "a parrot", "metadata": {"b": 0}}
    assert client.post(f"{url}/documents", json={"documents": [plain]}).json()["unchanged"] == 1
    without = {"id": 0, "text": "a magpie", "metadata": None}
    assert client.post(f"{url}/documents", json={"documents": [without]}).json()["new"] == 1
    (result,) = search(client, name, "parrot", mode="keyword").json()["data"]
    assert (result["document"], result["title"], result["metadata"]) == ("1", "", {"b": 0})
    assert client.post(f"{url}/documents/delete", json={"ids": [1, "0", 9]}).json() == {"deleted": 2}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("markdown", "# a" + " " * 20_000 + "b\n\ntext"),
        ("markdown", "# a " + "#" * 8_000 + "b"),
        ("javascript", "[" * 20_000 + "]" * 20_000),
        ("text", "あ" * 60_000),
    ],
)
def test_texts_that_kept_a_parser_busy_are_added_while_others_are_answered(
    client: httpx.Client, name: str, kind: str, text: str
) -> None:
    answers: list[httpx.Response] = []
    documents = [{"id": "x", "kind": kind, "text": text}]

    def add() -> None:
        answers.append(client.post(f"/v1/indexes/{name}/documents", json={"documents": documents}))

    adding = threading.Thread(target=add)
    adding.start()
    while adding.is_alive():
        assert client.get("/health", timeout=10).status_code == 200
        time.sleep(0.05)
    assert answers[0].status_code == 200, answers[0].text
    assert ("split without regard" in answers[0].headers.get("x-farthing-warning", "")) == (kind == "javascript")
    assert search(client, name, text[:5000], mode="keyword").status_code == 200


def threads_of_indexes() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("index-", "prepare"))]


# Many documents with many passages each: minutes of work.
MUCH_WORK = [{"id": f"m{number}", "text": f"Sentence {number} stands here. " * 4000} for number in range(100)]


def test_a_request_whose_time_is_over_is_answered_and_its_work_ends(client: httpx.Client, name: str) -> None:
    answer = client.post(
        f"/v1/indexes/{name}/documents", json={"documents": MUCH_WORK}, headers={"x-request-timeout-ms": "700"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    # The next change of the index comes when that one has really ended.
    more = client.post(f"/v1/indexes/{name}/documents", json={"documents": [{"id": "n", "text": "new"}]}, timeout=30)
    assert more.status_code == 200, more.text
    assert not [thread for thread in threads_of_indexes() if thread.startswith("prepare")]


def test_who_hangs_up_ends_the_adding(client: httpx.Client, name: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post(f"/v1/indexes/{name}/documents", json={"documents": MUCH_WORK}, timeout=1)
    more = client.post(f"/v1/indexes/{name}/documents", json={"documents": [{"id": "n", "text": "new"}]}, timeout=30)
    assert more.status_code == 200, more.text


def test_a_search_has_a_time_limit_too(client: httpx.Client, name: str) -> None:
    answer = client.post(
        f"/v1/indexes/{name}/search", json={"query": "x"}, headers={"x-request-timeout-ms": "1", "x-priority": "bulk"}
    )
    assert answer.status_code == 504


def test_those_who_hang_up_start_no_more_threads_than_there_are(client: httpx.Client, name: str) -> None:
    documents = [{"id": f"z{number}", "text": "zebra " * 200} for number in range(200)]
    assert client.post(f"/v1/indexes/{name}/documents", json={"documents": documents}).status_code == 200
    query = "zebra " + " ".join(f"w{number}" for number in range(1400))
    for _ in range(60):
        with pytest.raises(httpx.TimeoutException):
            client.post(f"/v1/indexes/{name}/search", json={"query": query, "k": 1000, "mode": "keyword"}, timeout=0.05)
    assert len(threads_of_indexes()) <= SEARCH_THREADS_AND_PLACES[0] + CHANGE_THREADS_AND_PLACES[0]
    assert ids(search(client, name, "parcels", mode="keyword")) == ["p2"]


def test_a_server_that_ends_ends_the_work_on_its_indexes(launch_load: Any, tmp_path: Path, starter_dir: Path) -> None:
    settings = ServerSettings(index_folder=str(tmp_path), drain_timeout_s=1)
    before = set(threads_of_indexes())
    with launch_load(lambda: Embedder(str(starter_dir)), name="minilm", server=settings) as running:
        httpx.post(f"{running.url}/v1/indexes", json={"name": "a"}, timeout=60)

        def add() -> None:
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(f"{running.url}/v1/indexes/a/documents", json={"documents": MUCH_WORK}, timeout=60)

        adding = threading.Thread(target=add)
        adding.start()
        running.wait_until(lambda: any(thread.startswith("prepare") for thread in threads_of_indexes()))
    adding.join()
    running.wait_until(lambda: not [name for name in threads_of_indexes() if name.startswith("prepare")])
    assert {name for name in threads_of_indexes() if name.startswith("prepare")} <= before
