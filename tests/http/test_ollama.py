"""Ollama's dialect, as its own client speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import ollama
import pytest

from farthing import Embedder, Reranker, __version__

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
COSINES = [0.6660, 0.1046]


@pytest.fixture(scope="module")
def ollama_client(server: Any) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.url) as client:
        yield client


@pytest.mark.parametrize("model", ["minilm", "minilm:latest"])
def test_the_ollama_client_gets_the_known_vectors(ollama_client: ollama.Client, model: str) -> None:
    answer = ollama_client.embed(model, SENTENCES, truncate=True, options={"num_ctx": 64}, keep_alive="5m")
    first, second, third = np.array(answer.embeddings)
    assert [first @ second, first @ third] == pytest.approx(COSINES, abs=5e-4)
    assert (answer.model, answer.prompt_eval_count, answer.load_duration) == ("minilm", 25, 0)
    assert answer.total_duration is not None
    assert 1_000 < answer.total_duration < 60 * 10**9
    one = ollama_client.embed(model, SENTENCES[0], dimensions=8)
    assert np.array(one.embeddings).shape == (1, 8)
    assert np.linalg.norm(one.embeddings[0]) == pytest.approx(1, abs=1e-5)


def test_the_older_route_gives_the_models_own_vector(ollama_client: ollama.Client) -> None:
    raw = np.array(ollama_client.embeddings("minilm", SENTENCES[0]).embedding)
    unit = np.array(ollama_client.embed("minilm", SENTENCES[0]).embeddings[0])
    assert abs(np.linalg.norm(raw) - 1) > 0.01
    assert raw / np.linalg.norm(raw) == pytest.approx(unit, abs=1e-5)


def test_nothing_in_gives_nothing_out(ollama_client: ollama.Client) -> None:
    for nothing in ("", []):
        assert ollama_client.embed("minilm", nothing).embeddings == []
    with pytest.raises(ollama.ResponseError, match="no model 'nope'"):
        ollama_client.embed("nope", "")


def test_the_ollama_client_lists_what_is_served(ollama_client: ollama.Client) -> None:
    (model,) = ollama_client.list().models
    assert (model.model, model.details and model.details.family) == ("minilm:latest", "bert")
    assert model.size
    assert model.size > 40_000_000
    (running,) = ollama_client.ps().models
    assert (running.model, running.size_vram, running.context_length) == ("minilm:latest", 0, 256)
    shown = ollama_client.show("minilm:latest")
    assert shown.capabilities == ["embedding"]
    assert shown.modelinfo
    assert shown.modelinfo["bert.embedding_length"] == 384


def test_older_clients_name_a_model_otherwise(client: httpx.Client) -> None:
    assert client.post("/api/show", json={"name": "minilm:latest"}).status_code == 200
    assert client.post("/api/show", json={"name": "nope"}).status_code == 404


def test_the_version_is_ours(client: httpx.Client) -> None:
    assert client.get("/api/version").json() == {"version": __version__}


def test_the_ollama_client_raises_its_own_errors(ollama_client: ollama.Client) -> None:
    for ask in (ollama_client.show, lambda name: ollama_client.embed(name, "a")):
        with pytest.raises(ollama.ResponseError, match="no model 'nope:latest'") as unknown:
            ask("nope:latest")
        assert unknown.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="has 302 tokens") as long:
        ollama_client.embed("minilm", "wren " * 300, truncate=False)
    assert long.value.status_code == 400


def test_long_texts_are_cut_unless_it_is_forbidden(client: httpx.Client) -> None:
    answer = client.post("/api/embed", json={"input": "wren " * 300})
    assert (answer.status_code, answer.headers["x-farthing-truncated"]) == (200, "0")


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("embed", {"input": 3}, "'input' must be"),
        ("embed", {"input": ["a", None]}, "'input[1]' is null"),
        ("embed", {"input": "a", "dimensions": 385}, "this model has 1 to 384"),
        ("embed", {"input": "a", "dimensions": -1}, "this model has 1 to 384"),
        ("embed", {"input": "a", "truncate": "no"}, "'truncate' must be"),
        ("embed", {"input": "a", "options": []}, "'options' must be"),
        ("embeddings", {"prompt": ["a"]}, "'prompt' must be"),
        ("embeddings", {"prompt": ""}, "'prompt' is required"),
        ("show", {"model": 3}, "'model' must be"),
    ],
)
def test_errors_have_their_shape(client: httpx.Client, path: str, body: dict[str, Any], part: str) -> None:
    answer = client.post(f"/api/{path}", json=body | {"unknown_field": 1})
    assert (answer.status_code, set(answer.json())) == (400, {"error"})
    assert part in answer.json()["error"]


def test_a_name_that_ends_with_the_tag_is_itself(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3, name="wren:latest") as running:
        answers = [
            httpx.post(f"{running.url}/api/embed", json={"model": name, "input": "a"})
            for name in ("wren:latest", "wren:latest:latest")
        ]
        listed = httpx.get(f"{running.url}/api/tags").json()["models"][0]["name"]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["model"] == listed == "wren:latest"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "a"}),
        ("/v2/embed", {"texts": ["a"]}),
        ("/api/embeddings", {"prompt": "a"}),
    ],
)
def test_the_tag_may_stand_behind_a_name_in_every_dialect(client: httpx.Client, path: str, body: Any) -> None:
    assert client.post(path, json=body | {"model": "minilm:latest"}).status_code == 200
    assert client.post(path, json=body | {"model": "minilm:7b"}).status_code == 404
    assert client.get("/v1/models/minilm:latest").json()["id"] == "minilm"


def test_a_model_that_still_loads_is_listed_and_refuses(launch_load: Any) -> None:
    def load() -> Embedder:
        raise OSError("no such model")

    with launch_load(load, ready=False) as running, httpx.Client(base_url=running.url) as client:
        (model,) = client.get("/api/tags").json()["models"]
        assert (model["name"], model["size"]) == ("test-model:latest", 0)
        assert client.get("/api/ps").json() == {"models": []}
        for path, body in [("embed", {"input": "a"}), ("embeddings", {"prompt": "a"}), ("show", {})]:
            answer = client.post(f"/api/{path}", json=body)
            assert (answer.status_code, set(answer.json())) == (503, {"error"})


def test_a_model_that_scores_is_not_listed(launch_load: Any, tiny_reranker: Path) -> None:
    with launch_load(lambda: Reranker(str(tiny_reranker))) as running:
        assert httpx.get(f"{running.url}/api/tags").json() == {"models": []}
        assert httpx.get(f"{running.url}/api/ps").json() == {"models": []}
        assert httpx.post(f"{running.url}/api/embed", json={"input": "a"}).status_code == 400
