"""The routes that score, on a server that holds an embedding model and a reranker."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farthing import Embedder, Reranker
from farthing.engine.runner import Runner
from farthing.server.models.slot import ModelEntry
from tiers import examples

QUERY = "which bird?"
DOCUMENTS = ["a wren", "yes", "", "no bird at all", "a wren"]


@pytest.fixture(scope="module")
def both(launch_load: Any, starter_dir: Path, tiny_reranker: Path) -> Iterator[Any]:
    load = lambda: Reranker(str(tiny_reranker), short_text="embed", context_length=2048)  # noqa: E731
    judge = ModelEntry("judge", load, aliases=["path/to/judge"], task="rerank")
    with launch_load(lambda: Embedder(str(starter_dir)), name="minilm", others=[judge]) as running:
        yield running


@pytest.fixture(scope="module")
def client(both: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=both.url, timeout=60) as session:
        yield session


@pytest.fixture(scope="module")
def scores(tiny_reranker: Path) -> np.ndarray:
    with Reranker(str(tiny_reranker), short_text="embed") as reranker:
        return reranker.score([(QUERY, text) for text in DOCUMENTS])


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_documents_come_back_best_first(client: httpx.Client, scores: np.ndarray, path: str) -> None:
    answer = client.post(path, json={"query": QUERY, "documents": DOCUMENTS, "model": "judge"})
    body = answer.json()
    assert set(body) == {"id", "model", "results", "usage", "meta"}
    assert (body["id"], body["model"]) == (answer.headers["x-request-id"], "judge")
    order = [entry["index"] for entry in body["results"]]
    assert order == sorted(range(len(DOCUMENTS)), key=lambda index: (-scores[index], index))
    for entry in body["results"]:
        assert set(entry) == {"index", "relevance_score"}
        assert entry["relevance_score"] == pytest.approx(scores[entry["index"]], abs=1e-6)
    num_tokens = body["usage"]["prompt_tokens"]
    assert num_tokens == body["usage"]["total_tokens"] == body["meta"]["tokens"]["input_tokens"] > 100


def test_top_n_and_documents_as_objects_that_are_repeated(client: httpx.Client) -> None:
    documents = [{"text": text} if index % 2 else text for index, text in enumerate(DOCUMENTS)]
    full = client.post("/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS}).json()["results"]
    body = {"query": QUERY, "documents": documents, "top_n": 2, "return_documents": True}
    results = client.post("/v1/rerank", json=body).json()["results"]
    for entry, whole in zip(results, full[:2], strict=True):
        assert entry.pop("document") == {"text": DOCUMENTS[whole["index"]]}
        assert entry == pytest.approx(whole, abs=1e-6)
    assert len(client.post("/v1/rerank", json=body | {"top_n": 99}).json()["results"]) == len(DOCUMENTS)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank"])
def test_a_body_with_texts_is_answered_as_text_embeddings_inference_does(client: httpx.Client, path: str) -> None:
    results = client.post(path, json={"query": QUERY, "texts": DOCUMENTS, "return_text": True}).json()
    raw = client.post(path, json={"query": QUERY, "texts": DOCUMENTS, "raw_scores": True, "truncate": True}).json()
    assert [entry["index"] for entry in results] == [entry["index"] for entry in raw]
    for entry, unscaled in zip(results, raw, strict=True):
        assert set(unscaled) == {"index", "score"}
        assert entry["text"] == DOCUMENTS[entry["index"]]
        assert entry["score"] == pytest.approx(1 / (1 + np.exp(-unscaled["score"])), abs=1e-6)


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
@pytest.mark.parametrize("names", [("text_1", "text_2"), ("queries", "documents")])
def test_pairs_are_scored_in_order(client: httpx.Client, scores: np.ndarray, path: str, names: tuple[str, str]) -> None:
    first, second = names
    one = client.post(path, json={first: QUERY, second: DOCUMENTS[0]}).json()
    assert (one["object"], one["model"], len(one["data"])) == ("list", "judge", 1)
    assert one["data"][0] == {"index": 0, "object": "score", "score": pytest.approx(scores[0], abs=1e-6)}
    for left in (QUERY, [QUERY], [QUERY] * len(DOCUMENTS)):
        data = client.post(path, json={first: left, second: DOCUMENTS}).json()["data"]
        assert [entry["score"] for entry in data] == pytest.approx(scores.tolist(), abs=1e-6)
    raw = client.post(path, json={first: QUERY, second: DOCUMENTS, "use_activation": False}).json()["data"]
    assert 1 / (1 + np.exp(-raw[1]["score"])) == pytest.approx(scores[1], abs=1e-6)


def test_each_pair_keeps_its_own_query(client: httpx.Client) -> None:
    queries = ["one", "two", "three"]
    data = client.post("/score", json={"queries": queries, "documents": ["a"] * 3}).json()["data"]
    for entry, query in zip(data, queries, strict=True):
        alone = client.post("/score", json={"queries": query, "documents": "a"}).json()["data"][0]
        assert entry["score"] == pytest.approx(alone["score"], abs=1e-5)


def test_an_instruction_changes_the_scores(client: httpx.Client, scores: np.ndarray) -> None:
    body = {"text_1": QUERY, "text_2": DOCUMENTS, "instruction": "find songs"}
    data = client.post("/score", json=body).json()["data"]
    assert [entry["score"] for entry in data] != pytest.approx(scores.tolist(), abs=1e-3)


GOOD = {"query": QUERY, "documents": DOCUMENTS}


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        ("/v1/rerank", {"documents": ["a"]}, 400, "invalid_input", "query"),
        ("/v1/rerank", {"query": QUERY}, 400, "invalid_input", "documents"),
        ("/v1/rerank", GOOD | {"documents": []}, 400, "empty_input", "documents"),
        ("/v1/rerank", GOOD | {"documents": "a"}, 400, "invalid_input", "documents"),
        ("/v1/rerank", GOOD | {"documents": ["a", 3]}, 400, "invalid_input", "documents[1]"),
        ("/v1/rerank", GOOD | {"documents": [{"title": "a"}]}, 400, "invalid_input", "documents[0]"),
        ("/v1/rerank", GOOD | {"top_n": 0}, 400, "invalid_input", "top_n"),
        ("/v1/rerank", GOOD | {"topn": 1}, 400, "invalid_input", "topn"),
        ("/v1/rerank", GOOD | {"texts": ["a"]}, 400, "invalid_input", "texts"),
        ("/v1/rerank", GOOD | {"model": "minilm"}, 400, "wrong_task", "model"),
        ("/v1/rerank", GOOD | {"query": "x" * 50_000}, 400, "query_too_long", "query"),
        ("/v1/rerank", GOOD | {"query": "\ud800"}, 400, "invalid_input", None),
        (
            "/v1/rerank",
            GOOD | {"documents": ["a", "x" * 5_000], "truncate": False},
            400,
            "context_length_exceeded",
            "documents",
        ),
        ("/score", {"text_1": "a"}, 400, "invalid_input", "text_1"),
        ("/score", {"text_1": "a", "documents": "b"}, 400, "invalid_input", "text_1"),
        ("/score", {"text_1": "a", "text_2": "b", "documents": "c"}, 400, "invalid_input", "text_1"),
        ("/score", {"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}, 400, "invalid_input", "text_2"),
        ("/score", {"text_1": ["a", "b"], "text_2": "c"}, 400, "invalid_input", "text_2"),
    ],
)
def test_what_cannot_be_scored_is_named(
    client: httpx.Client, path: str, body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    answer = client.post(path, content=json.dumps(body))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), error
    if param is not None:
        assert error["param"] == param


def test_a_long_document_is_cut_and_the_answer_says_so(client: httpx.Client) -> None:
    answer = client.post("/v1/rerank", json={"query": QUERY, "documents": ["a", "x" * 5_000]})
    assert answer.status_code == 200
    assert answer.headers["x-farthing-truncated"] == "1"


def test_both_models_are_listed_and_counted(client: httpx.Client) -> None:
    assert [card["id"] for card in client.get("/v1/models").json()["data"]] == ["minilm", "judge"]
    assert client.get("/v1/models/path/to/judge").json()["id"] == "judge"
    assert client.get("/v1/models/other").status_code == 404
    health = client.get("/health").json()
    assert health["models"] == [
        {"model": "minilm", "task": "embed", "state": "ready", "context_length": 256, "healthy": True},
        {"model": "judge", "task": "rerank", "state": "ready", "context_length": 2048, "healthy": True},
    ]

    def num_texts() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("farthing_texts_total{"))

    before = num_texts()
    client.post("/v1/rerank", json=GOOD)
    assert num_texts() == before + len(DOCUMENTS)
    client.post("/v1/embeddings", json={"input": "a"})
    assert num_texts() == before + len(DOCUMENTS) + 1


def test_the_routes_are_documented(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/rerank", "/rerank", "/score"} <= set(paths)
    page = client.get("/docs").text
    commands = [shlex.split(html.unescape(found)) for found in re.findall(r"<pre>(curl .*?)</pre>", page)]
    scoring = [command for command in commands if command[1].endswith(("rerank", "score"))]
    assert len(scoring) == 7
    for command in scoring:
        assert httpx.post(command[1], content=command[command.index("-d") + 1]).status_code == 200


def test_a_server_without_a_reranker_says_how_to_have_one(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3) as running:
        answer = httpx.post(f"{running.url}/v1/rerank", json=GOOD)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_task")
    assert "--reranker" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/score", "/rerank"])
def test_a_model_that_makes_vectors_names_the_served_reranker(client: httpx.Client, path: str) -> None:
    body = {"text_1": "a", "text_2": "b"} if path == "/score" else {"query": "a", "documents": ["b"]}
    body = {"query": "a", "texts": ["b"]} if path == "/rerank" else body
    answer = client.post(path, json={**body, "model": "minilm"})
    assert answer.status_code == (424 if path == "/rerank" else 400)
    assert "'minilm' makes vectors and scores no pairs. Ask 'judge'." in answer.text
    assert "--reranker" not in answer.text


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/show"])
def test_a_reranker_names_the_served_model_for_vectors(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json={"model": "judge", **({} if path == "/api/show" else {"input": "a"})})
    assert answer.status_code == 400
    assert "'judge' scores pairs and makes no vectors: POST /v1/rerank. For vectors ask 'minilm'." in answer.text


def test_a_server_that_only_scores_says_so_where_vectors_are_asked_for(launch_load: Any, tiny_reranker: Path) -> None:
    with launch_load(lambda: Reranker(str(tiny_reranker), short_text="embed"), name="judge") as running:
        refused = httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"})
        assert httpx.post(f"{running.url}/v1/rerank", json=GOOD | {"model": "judge"}).status_code == 200
        health = httpx.get(f"{running.url}/health").json()
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "wrong_task")
    assert (health["status"], health["model"], "dimensions" in health) == ("ready", "judge", False)


def test_a_pass_that_fails_is_a_typed_error_and_spares_the_other_model(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Runner._forward

    def broken(self: Runner, *rest: Any) -> np.ndarray:
        if self._model.head is not None:
            raise RuntimeError("secret words")
        return real(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "_forward", broken)
        answer = client.post("/v1/rerank", json=GOOD)
        assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 200
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "batch_failed")
    assert "secret" not in answer.text
    assert client.post("/v1/rerank", json=GOOD).status_code == 200


characters = st.text(st.characters(), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | characters,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(characters, inner, max_size=3),
)
texts = st.lists(characters | st.fixed_dictionaries({"text": characters}), max_size=4) | values
FIELDS = {
    "query": characters | values,
    "documents": texts,
    "texts": texts,
    "text_1": characters | texts,
    "text_2": characters | texts,
    "queries": characters | texts,
    "top_n": st.integers(-1, 9) | values,
    "return_documents": st.booleans() | values,
    "raw_scores": st.booleans() | values,
    "instruction": characters | values,
    "truncate": st.booleans() | values,
    "model": st.sampled_from(["judge", "", None]) | values,
}


@settings(
    max_examples=examples(200),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    path=st.sampled_from(["/v1/rerank", "/rerank", "/score"]),
    body=st.fixed_dictionaries({"query": FIELDS["query"], "documents": texts}, optional={"top_n": FIELDS["top_n"]})
    | st.fixed_dictionaries({}, optional=FIELDS),
)
def test_any_json_in_any_field_is_answered(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = client.post(path, content=json.dumps(body))
    if answer.status_code != 200:
        assert 400 <= answer.status_code < 500, answer.text
        if path == "/rerank":
            assert set(answer.json()) == {"error", "error_type"}
        else:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
