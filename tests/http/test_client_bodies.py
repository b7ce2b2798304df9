"""Requests of programs that are no libraries, as their sources build them, and what they read of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from farthing import Embedder, Reranker
from farthing.server.models.slot import ModelEntry

TEXTS = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
COSINES = [0.6660, 0.1046]
QUERY, DOCUMENTS = "which bird?", ["a wren", "yes", "no bird at all"]
PAIRS = {"query": QUERY, "documents": DOCUMENTS}


@pytest.fixture(scope="module")
def client(launch_load: Any, starter_dir: Path, tiny_reranker: Path) -> Iterator[httpx.Client]:
    judge = ModelEntry("judge", lambda: Reranker(str(tiny_reranker)), task="rerank")
    with (
        launch_load(lambda: Embedder(str(starter_dir), format="fp32"), name="minilm", others=[judge]) as running,
        httpx.Client(base_url=running.url, timeout=60) as session,
    ):
        yield session


@pytest.fixture(scope="module")
def scores(client: httpx.Client) -> list[float]:
    found = client.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS}).json()
    return [entry["score"] for entry in sorted(found, key=lambda entry: entry["index"])]


def ask(client: httpx.Client, path: str, body: Any, **headers: str) -> Any:
    answer = client.post(path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def is_right(vectors: Any) -> bool:
    unit = np.array(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return [unit[0] @ unit[1], unit[0] @ unit[2]] == pytest.approx(COSINES, abs=5e-4)


def check_ranks(found: Any, scores: list[float]) -> None:
    ranks = np.zeros(len(DOCUMENTS))
    for entry in found["results"]:
        ranks[entry["index"]] = entry["relevance_score"]
    assert ranks.tolist() == pytest.approx(scores, abs=1e-6)


def test_ragflow(client: httpx.Client, scores: list[float]) -> None:
    openai = {"input": TEXTS, "model": "minilm", "encoding_format": "float", "drop_params": True}
    found = ask(client, "/v1/embeddings", openai)
    assert is_right([entry["embedding"] for entry in found["data"]])
    assert found["usage"]["total_tokens"] == 25
    jina = {"model": "minilm", "input": [{"text": text} for text in TEXTS], "encoding_type": "float"}
    jina |= {"task": "retrieval.passage", "truncate": True, "return_multivector": False}
    assert is_right([entry["embedding"] for entry in ask(client, "/v1/embeddings", jina)["data"]])
    tei = {"inputs": TEXTS, "truncate": True}
    assert is_right(ask(client, "/embed", tei))
    ollama = {"model": "minilm", "options": {"use_mmap": True}, "keep_alive": -1}
    assert is_right([ask(client, "/api/embeddings", ollama | {"prompt": text})["embedding"] for text in TEXTS])
    xinference = {"model": "judge", **PAIRS, "return_documents": "true", "return_len": "true"}
    headers = {"accept": "application/json", "authorization": "Bearer x"}
    ranked = ask(client, "/v1/rerank", xinference, **headers)
    check_ranks(ranked, scores)
    for tokens in (ranked["tokens"], ranked["meta"]["tokens"]):  # of two versions
        assert tokens["input_tokens"] + tokens["output_tokens"] == ranked["usage"]["total_tokens"]
    check_ranks(ask(client, "/rerank", {"model": "judge", **PAIRS, "top_n": len(DOCUMENTS)}), scores)


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer unused"])
def test_dify(client: httpx.Client, scores: list[float], authorization: str) -> None:
    headers = {"authorization": authorization, "content-type": "application/json"}
    body = {"input": TEXTS, "model": "minilm", "encoding_format": "float"}
    for path in ("/embeddings", "/v1/embeddings"):  # behind the endpoint as it was typed
        assert is_right([entry["embedding"] for entry in ask(client, path, body, **headers)["data"]])
    body = {"model": "judge", **PAIRS, "top_n": 3, "return_documents": True}
    for path in ("/rerank", "/v1/rerank"):
        found = ask(client, path, body, **headers)
        check_ranks(found, scores)
        assert [entry["document"]["text"] for entry in found["results"]] == [
            DOCUMENTS[entry["index"]] for entry in found["results"]
        ]
    # Its plugin for text-embeddings-inference.
    info = client.get("/info", headers=headers).json()
    assert info["model_type"]["embedding"]
    assert info["max_input_length"] == 256
    assert len(ask(client, "/tokenize", {"inputs": TEXTS}, **headers)) == 3
    ranked = ask(client, "/rerank", {"query": QUERY, "texts": DOCUMENTS, "truncate": True}, **headers)
    assert [entry["score"] for entry in sorted(ranked, key=lambda entry: entry["index"])] == pytest.approx(scores)


def test_open_webui(client: httpx.Client, scores: list[float]) -> None:
    headers = {"x-openwebui-user-name": "A%20B", "x-openwebui-user-id": "1", "authorization": "Bearer x"}
    for prefix in ({}, {"input_type": "search_document"}):  # a field by environment variables
        body = {"input": TEXTS, "model": "minilm", **prefix}
        assert is_right([entry["embedding"] for entry in ask(client, "/v1/embeddings", body, **headers)["data"]])
    assert is_right(ask(client, "/api/embed", {"input": TEXTS, "model": "minilm:latest"}, **headers)["embeddings"])
    assert "minilm:latest" in [model["model"] for model in client.get("/api/tags").json()["models"]]
    for documents in (DOCUMENTS, [{"text": text} for text in DOCUMENTS]):
        body = {"model": "judge", "query": QUERY, "documents": documents, "top_n": 3}
        check_ranks(ask(client, "/v1/rerank", body, **headers), scores)


def test_n8n(client: httpx.Client) -> None:
    """OpenAI's client for JavaScript in a version that asks for no format and takes what comes for numbers."""
    body = {"model": "minilm", "input": TEXTS, "stripNewLines": True, "batchSize": 512}
    answer = client.post("/v1/embeddings", json=body)
    assert is_right([entry["embedding"] for entry in answer.json()["data"]])
    assert answer.headers["x-farthing-ignored"] == "stripNewLines, batchSize"
    assert client.get("/v1/models").json()["data"][0]["id"] == "minilm"


@pytest.mark.parametrize(
    "body",
    [
        {"input": TEXTS, "model": "minilm", "encoding_format": None, "dimensions": None, "user": None},
        {"input": TEXTS, "model": "minilm", "input_type": "passage", "encoding_format": "float", "truncate": "NONE"},
        {"input": TEXTS, "model": "minilm", "truncation": True, "input_type": None, "output_dtype": "float"},
        {"input": TEXTS, "model": "minilm", "task": "text-matching", "normalized": True, "embedding_type": "float"},
    ],
    ids=["LiteLLM", "NVIDIA", "Voyage", "Jina"],
)
def test_embeddings_of_others(client: httpx.Client, body: dict[str, Any]) -> None:
    assert is_right([entry["embedding"] for entry in ask(client, "/v1/embeddings", body)["data"]])
