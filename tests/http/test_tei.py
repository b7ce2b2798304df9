"""The dialect of text-embeddings-inference, as its clients speak it, and as its own router answers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from farthing import Embedder, Reranker
from farthing.core.settings import AccessSettings, ServerSettings, ServingSettings
from farthing.engine.runner import Runner

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
COSINES = [0.6660, 0.1046]
TIMES = ("x-compute-time", "x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time")


def error_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error", "error_type"}
    assert body["error"]
    return answer.status_code, body["error_type"]


def vectors_of(client: httpx.Client, **body: Any) -> np.ndarray:
    answer = client.post("/embed", json=body)
    assert answer.status_code == 200, answer.text
    return np.array(answer.json(), dtype=np.float32)


@pytest.mark.parametrize("path", ["", "/embed"])
def test_the_hugging_face_client_gets_the_known_vectors(server: Any, path: str) -> None:
    client = InferenceClient(model=server.url + path)
    first, second, third = client.feature_extraction(SENTENCES, normalize=True, truncate=True)  # type: ignore[arg-type]
    assert [first @ second, first @ third] == pytest.approx(COSINES, abs=5e-4)
    assert client.feature_extraction(SENTENCES[0]).shape == (1, 384)
    cut = client.feature_extraction(SENTENCES[0], dimensions=8, truncation_direction="left")
    assert np.linalg.norm(cut) == pytest.approx(1, abs=1e-5)
    assert cut.shape == (1, 8)


@pytest.mark.parametrize("path", ["", "/similarity"])
def test_the_hugging_face_client_compares_sentences(server: Any, path: str) -> None:
    client = InferenceClient(model=server.url + path)
    assert client.sentence_similarity(SENTENCES[0], other_sentences=SENTENCES[1:]) == pytest.approx(COSINES, abs=5e-4)


def test_the_hugging_face_client_raises_its_own_errors(server: Any) -> None:
    with pytest.raises(HfHubHTTPError, match="no prompt 'nope'") as raised:
        InferenceClient(model=f"{server.url}/embed").feature_extraction("a", prompt_name="nope")
    assert raised.value.response.status_code == 422


def test_vectors_come_in_order_for_texts_and_token_ids(client: httpx.Client) -> None:
    vectors = vectors_of(client, inputs=["hello", "goodbye"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert vectors_of(client, inputs="hello") == pytest.approx(vectors[:1], abs=1e-5)
    assert vectors_of(client, inputs=[7592]) == pytest.approx(vectors[:1], abs=1e-5)
    assert vectors_of(client, inputs=[[7592], [9119]]) == pytest.approx(vectors, abs=1e-5)
    raw = vectors_of(client, inputs="hello", normalize=False, unknown_field=3)
    assert abs(np.linalg.norm(raw) - 1) > 0.01
    assert raw[0] / np.linalg.norm(raw) == pytest.approx(vectors[0], abs=1e-5)


def test_every_token_has_a_vector_that_is_neither_pooled_nor_scaled(client: httpx.Client) -> None:
    texts = ["a wren sings", "hello"]
    answer = client.post("/embed_all", json={"inputs": texts, "normalize": True, "dimensions": 8})
    found = [np.array(rows, dtype=np.float32) for rows in answer.json()]
    tokens = client.post("/tokenize", json={"inputs": texts}).json()
    assert [rows.shape for rows in found] == [(len(ids), 384) for ids in tokens]
    assert np.stack([rows.mean(0) for rows in found]) == pytest.approx(
        vectors_of(client, inputs=texts, normalize=False), abs=1e-5
    )
    assert set(TIMES) <= set(answer.headers)
    assert answer.headers["x-compute-tokens"] == str(sum(map(len, tokens)))
    assert answer.headers["x-farthing-space"] != client.post("/embed", json={"inputs": "a"}).headers["x-farthing-space"]
    for same in ("hello", [7592], [[7592]]):
        (rows,) = client.post("/embed_all", json={"inputs": same}).json()
        assert np.array(rows) == pytest.approx(found[1], abs=1e-4)


def test_token_vectors_of_long_texts_are_those_that_are_left(client: httpx.Client) -> None:
    text = "wren " * 300 + "eagle"
    assert error_of(client.post("/embed_all", json={"inputs": text})) == (422, "Validation")
    for direction, last in [("right", "wren"), ("left", "eagle")]:
        body = {"inputs": text, "truncate": True, "truncation_direction": direction}
        (rows,) = client.post("/embed_all", json=body).json()
        (whole,) = client.post("/embed_all", json={"inputs": "wren " * 253 + last}).json()
        assert np.array(rows) == pytest.approx(np.array(whole), abs=1e-4)


def test_a_prompts_tokens_have_vectors_too(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3) as running:
        body = {"inputs": ["a", "bc"], "prompt_name": "query"}
        found, tokens, pooled = (
            httpx.post(f"{running.url}/{path}", json=body | {"normalize": False}).json()
            for path in ("embed_all", "tokenize", "embed")
        )
    assert list(map(len, found)) == list(map(len, tokens))
    assert np.array([rows[-1] for rows in found]) == pytest.approx(np.array(pooled), abs=1e-5)


def test_long_texts_lose_the_end_that_is_asked_for(client: httpx.Client) -> None:
    text = "wren " * 254 + "eagle " * 254  # of one token each, twice what the context has room for
    for direction, word in [("right", "wren "), ("left", "eagle "), ("Left", "eagle ")]:
        cut = vectors_of(client, inputs=text, truncate=True, truncation_direction=direction)
        assert cut == pytest.approx(vectors_of(client, inputs=word * 254), abs=1e-5)
    assert error_of(client.post("/embed", json={"inputs": text})) == (422, "Validation")


def test_times_and_counts_are_in_the_headers(client: httpx.Client) -> None:
    answer = client.post("/embed", json={"inputs": ["hello wren", "hello"] * 20})
    times = {name: int(answer.headers[name]) for name in TIMES}
    assert 0 < times["x-inference-time"] <= times["x-total-time"] < 60_000
    stages = times["x-tokenization-time"] + times["x-queue-time"] + times["x-inference-time"]
    assert stages <= times["x-total-time"]
    assert answer.headers["x-compute-type"] in ("cpu", "gpu")
    assert answer.headers["x-compute-characters"] == str(15 * 20)
    assert int(answer.headers["x-compute-tokens"]) > 20 * 5
    assert answer.headers["x-farthing-space"]


def test_tokens_are_those_of_the_model_with_their_place_in_bytes(client: httpx.Client) -> None:
    text = "Zürich wrens"
    (tokens,) = client.post("/tokenize", json={"inputs": text}).json()
    assert [tokens[0], tokens[-1]] == [
        {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None},
        {"id": 102, "text": "[SEP]", "special": True, "start": None, "stop": None},
    ]
    inner = tokens[1:-1]
    assert tokens[1]["text"] == "Zürich"
    assert [text.encode()[token["start"] : token["stop"]].decode() for token in inner] == [
        token["text"] for token in inner
    ]
    bare = client.post("/tokenize", json={"inputs": [text, "a"], "add_special_tokens": False}).json()
    assert bare[0] == inner
    ids = [token["id"] for token in tokens]
    assert client.post("/decode", json={"ids": ids}).json() == ["zurich wrens"]
    whole = client.post("/decode", json={"ids": [ids, ids[1:-1]], "skip_special_tokens": False}).json()
    assert whole == ["[CLS] zurich wrens [SEP]", "zurich wrens"]


def test_prompts_are_tokenised_with_the_text(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3) as running:
        body = {"inputs": "a", "prompt_name": "query"}
        (tokens,) = httpx.post(f"{running.url}/tokenize", json=body).json()
        (decoded,) = httpx.post(f"{running.url}/decode", json={"ids": [token["id"] for token in tokens]}).json()
    assert decoded.startswith("Instruct: ")
    assert decoded.endswith("Query:a")


def test_the_model_is_described(client: httpx.Client) -> None:
    info = client.get("/info").json()
    assert (info["model_id"], info["model_dtype"]) == ("minilm", "float32")
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert (info["max_input_length"], info["max_client_batch_size"], info["auto_truncate"]) == (256, 8192, False)


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/embed", {}, (422, "Validation")),
        ("/embed", {"inputs": []}, (400, "Empty")),
        ("/embed", {"inputs": None}, (422, "Validation")),
        ("/embed", {"inputs": ["a", 1]}, (422, "Validation")),
        ("/embed", {"inputs": "a", "truncate": "yes"}, (422, "Validation")),
        ("/embed", {"inputs": "a", "truncation_direction": "up"}, (422, "Validation")),
        ("/embed", {"inputs": "a", "dimensions": 1000}, (422, "Validation")),
        ("/embed", {"inputs": [999_999]}, (422, "Tokenizer")),
        ("/", {"texts": ["a"], "query": "b"}, (424, "Backend")),
        ("/", {"inputs": {"source_sentence": "a"}}, (422, "Validation")),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, (400, "Empty")),
        ("/similarity", {"inputs": "a"}, (422, "Validation")),
        ("/embed_all", {"inputs": []}, (400, "Empty")),
        ("/embed_all", {"inputs": "a", "prompt_name": "nope"}, (422, "Validation")),
        ("/embed_all", {"inputs": [999_999]}, (422, "Tokenizer")),
        ("/embed_sparse", {"inputs": "a"}, (424, "Backend")),
        ("/embed_sparse", {"inputs": []}, (400, "Empty")),
        ("/tokenize", {"inputs": [1, 2]}, (422, "Validation")),
        ("/tokenize", {"inputs": []}, (400, "Empty")),
        ("/tokenize", {"inputs": "a", "prompt_name": "nope"}, (422, "Validation")),
        ("/decode", {"ids": []}, (400, "Empty")),
        ("/decode", {"ids": "a"}, (422, "Validation")),
        ("/decode", {"ids": [[1], 2]}, (422, "Validation")),
        ("/decode", {"ids": [1, "a"]}, (422, "Validation")),
        ("/decode", {"ids": [-1]}, (422, "Tokenizer")),
        ("/rerank", {"query": "a", "texts": []}, (400, "Empty")),
        ("/rerank", {"query": "a", "texts": ["b"]}, (424, "Backend")),
    ],
)
def test_errors_have_their_shape_and_status(
    client: httpx.Client, path: str, body: dict[str, Any], error: tuple[int, str]
) -> None:
    assert error_of(client.post(path, json=body)) == error


def test_limits_are_errors_of_the_dialect_too(launch: Any, tiny_qwen3: Path) -> None:
    serving = ServingSettings(max_texts_per_request=2, max_token_vectors=9)
    with launch(tiny_qwen3, serving=serving, server=ServerSettings(max_body_bytes=1024)) as running:
        assert httpx.post(f"{running.url}/embed_all", json={"inputs": ["abc", "abcd"]}).status_code == 200
        for inputs in (["a"] * 3, ["abcd", "abcd"]):
            refused = httpx.post(f"{running.url}/embed_all", json={"inputs": inputs})
            assert error_of(refused) == (413, "Validation")
        for path, body in [("embed", {"inputs": ["a"] * 3}), ("tokenize", {"inputs": ["a"] * 3})]:
            assert error_of(httpx.post(f"{running.url}/{path}", json=body)) == (413, "Validation")
        assert error_of(httpx.post(f"{running.url}/decode", json={"ids": [[1]] * 3})) == (413, "Validation")
        large = httpx.post(f"{running.url}/embed", json={"inputs": "a" * 2000})
    assert error_of(large) == (413, "Validation")


def test_a_pass_that_fails_is_a_backend_error(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> np.ndarray:
        raise RuntimeError("secret words")

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "_forward", broken)
        answer = client.post("/embed", json={"inputs": "a"})
    assert error_of(answer) == (424, "Backend")
    assert "secret" not in answer.text
    assert "failed" in caplog.text


def test_a_model_that_still_loads_is_unhealthy(launch_load: Any) -> None:
    def load() -> Embedder:
        raise OSError("no such model")

    with launch_load(load, ready=False) as running:
        for path, body in [("embed", {"inputs": "a"}), ("tokenize", {"inputs": "a"}), ("decode", {"ids": [1]})]:
            answer = httpx.post(f"{running.url}/{path}", json=body)
            assert error_of(answer) == (503, "Unhealthy")
            assert answer.headers["retry-after"]
        assert error_of(httpx.get(f"{running.url}/info")) == (503, "Unhealthy")


def test_a_server_that_only_scores_reranks_at_its_root(launch_load: Any, tiny_reranker: Path) -> None:
    with launch_load(lambda: Reranker(str(tiny_reranker)), name="judge") as running:
        body = {"query": "which bird?", "texts": ["a wren", "a car"], "return_text": True, "unknown_field": 1}
        answer = httpx.post(running.url, json=body)
        assert [set(entry) for entry in answer.json()] == [{"index", "score", "text"}] * 2
        assert set(TIMES) <= set(answer.headers)
        assert int(answer.headers["x-inference-time"]) > 0
        assert httpx.get(f"{running.url}/info").json()["model_type"].keys() == {"reranker"}
        assert error_of(httpx.post(f"{running.url}/tokenize", json={"inputs": "a"})) == (424, "Backend")
        assert error_of(httpx.post(f"{running.url}/embed", json={"inputs": "a"})) == (424, "Backend")


def test_lists_of_tokens_have_a_limit_and_are_paid_for(launch: Any, tiny_qwen3: Path) -> None:
    serving, access = ServingSettings(max_listed_tokens=100), AccessSettings(tokens_per_minute=1000)
    with launch(tiny_qwen3, serving=serving, access=access) as running:
        left = 1000
        for path, body in (("tokenize", {"inputs": ["a" * 49] * 2}), ("decode", {"ids": [[1] * 50] * 2})):
            answer = httpx.post(f"{running.url}/{path}", json=body)
            assert answer.status_code == 200
            left -= 100
            assert answer.headers["x-ratelimit-remaining-tokens"] == str(left)
            more = {name: [*value, value[0][:1]] for name, value in body.items()}  # type: ignore[index]
            refused = httpx.post(f"{running.url}/{path}", json=more)
            assert error_of(refused) == (413, "Validation")
            assert "at most 100 are taken at once (max_listed_tokens)" in refused.json()["error"]
        while left > 0:
            assert httpx.post(f"{running.url}/tokenize", json={"inputs": ["a" * 49] * 2}).status_code == 200
            left -= 100
        assert httpx.post(f"{running.url}/tokenize", json={"inputs": "a"}).status_code == 429


@pytest.mark.parametrize(("path", "body"), [("tokenize", {"inputs": "a"}), ("decode", {"ids": [1]})])
def test_lists_of_tokens_are_work_with_a_lane_and_a_time_limit(
    launch: Any, tiny_qwen3: Path, path: str, body: dict[str, Any]
) -> None:
    serving = ServingSettings(max_running_requests=1, tokenizer_threads=1)
    go_on = threading.Event()
    with launch(tiny_qwen3, serving=serving) as running:
        url = f"{running.url}/{path}"
        assert error_of(httpx.post(url, json=body, headers={"x-priority": "high"})) == (422, "Validation")
        running.embedder._pools.pool("interactive", 0, 0).submit(go_on.wait, 30)
        late = httpx.post(url, json=body, headers={"x-request-timeout-ms": "100"})
        assert late.status_code == 504
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(httpx.post, url, json=body, timeout=30)  # type: ignore[arg-type]
            running.wait_until(lambda: running.service._turns.locked())
            bulk = {"x-priority": "bulk", "x-request-timeout-ms": "100"}  # a thread is free, but no turn
            assert httpx.post(url, json=body, headers=bulk).status_code == 504
            go_on.set()
            assert waiting.result(30).status_code == 200
        assert httpx.post(url, json=body).status_code == 200


def test_lists_of_tokens_are_refused_beyond_the_default_limit(client: httpx.Client) -> None:
    refused = client.post("/tokenize", json={"inputs": ["a " * 3000] * 1000})
    assert error_of(refused) == (413, "Validation")
    tokens = client.post("/tokenize", json={"inputs": ["a " * 3000] * 33}).json()
    assert [len(text) for text in tokens] == [3002] * 33
