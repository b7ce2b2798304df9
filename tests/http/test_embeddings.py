"""POST /v1/embeddings on a real model: what comes back, in which order, and what the headers say."""

from __future__ import annotations

import base64
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from farthing.serving.embedder import Embedder

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]


def post(client: httpx.Client, **body: Any) -> httpx.Response:
    response = client.post("/v1/embeddings", json=body)
    assert response.status_code == 200, response.text
    return response


def vectors(response: httpx.Response) -> np.ndarray:
    return np.array([item["embedding"] for item in response.json()["data"]], dtype=np.float32)


def test_vectors_have_the_known_cosines(client: httpx.Client) -> None:
    first, second, third = vectors(post(client, input=SENTENCES))
    assert first @ second == pytest.approx(0.6660, abs=5e-4)
    assert first @ third == pytest.approx(0.1046, abs=5e-4)
    assert second @ third == pytest.approx(0.1411, abs=5e-4)


def test_the_body_is_openais_to_the_letter(client: httpx.Client) -> None:
    body = post(client, input="Hello", model="minilm").json()
    assert set(body) == {"object", "data", "model", "usage"}
    assert (body["object"], body["model"]) == ("list", "minilm")
    details = {"cached_tokens": 0}
    # [CLS] hello [SEP]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3, "prompt_tokens_details": details}
    twice = post(client, input=["Hello", "Hello"]).json()["usage"]
    assert (twice["prompt_tokens"], twice["prompt_tokens_details"]["cached_tokens"]) == (6, 3)
    (item,) = body["data"]
    assert set(item) == {"object", "index", "embedding"}
    assert (item["object"], item["index"], len(item["embedding"])) == ("embedding", 0, 384)


def test_http_gives_exactly_what_the_embedder_gives(client: httpx.Client, server: Any) -> None:
    np.testing.assert_array_equal(vectors(post(client, input="Hello")), server.embedder.encode(["Hello"]))


def test_base64_is_the_same_vectors_as_little_endian_float32(client: httpx.Client) -> None:
    as_float = vectors(post(client, input="Hello", encoding_format="float"))
    encoded = post(client, input="Hello", encoding_format="base64").json()["data"][0]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(encoded), dtype="<f4"), as_float[0])


def test_token_ids_give_the_vector_of_their_text(client: httpx.Client) -> None:
    hello = vectors(post(client, input="hello"))[0]
    np.testing.assert_allclose(vectors(post(client, input=[7592]))[0], hello, atol=1e-6)
    two = vectors(post(client, input=[[101, 7592, 102], [7592]]))
    np.testing.assert_allclose(two, [hello, hello], atol=1e-6)


def test_fewer_dimensions_are_the_first_ones_scaled_to_length_one(client: httpx.Client) -> None:
    full = vectors(post(client, input="Hello"))[0]
    response = post(client, input="Hello", dimensions=64)
    np.testing.assert_allclose(vectors(response)[0], full[:64] / np.linalg.norm(full[:64]), atol=1e-6)
    assert "not trained to be cut" in response.headers["x-farthing-warning"]


def test_without_normalize_vectors_keep_their_length(client: httpx.Client) -> None:
    raw = vectors(post(client, input="Hello", normalize=False))[0]
    np.testing.assert_allclose(raw / np.linalg.norm(raw), vectors(post(client, input="Hello"))[0], atol=1e-6)
    assert abs(np.linalg.norm(raw) - 1) > 0.01


def test_a_prompt_goes_before_the_text(client: httpx.Client) -> None:
    with_prompt = vectors(post(client, input="tower", prompt="the tall "))
    np.testing.assert_allclose(with_prompt, vectors(post(client, input="the tall tower")), atol=1e-6)


def test_truncated_inputs_are_named_in_a_header(client: httpx.Client) -> None:
    response = post(client, input=["short", "word " * 300, "short", "word " * 300], truncate=True)
    assert response.headers["x-farthing-truncated"] == "1,3"
    assert "x-farthing-warning" not in response.headers


def test_inputs_of_unknown_words_alone_are_named_in_a_header(client: httpx.Client) -> None:
    for _ in range(2):  # computed, and out of the cache
        response = post(client, input=["a wren", "b" * 150, "😀", "a 😀"])
        assert response.headers["x-farthing-unknown"] == "1,2"
    assert "x-farthing-unknown" not in post(client, input="a wren").headers


def test_texts_that_are_refused_leave_no_tokens_behind(client: httpx.Client) -> None:
    """Errors are in circles with futures and tasks; without the collector, what they hold would stay."""

    def num_held() -> int:
        return sum(type(item) is list and len(item) > 5_000 for item in gc.get_objects())

    gc.collect()
    before = num_held()
    gc.disable()
    try:
        for _ in range(5):
            assert client.post("/embed", json={"inputs": "[ " * 200_000}).status_code in (413, 422)
        assert num_held() <= before
    finally:
        gc.enable()


def test_null_means_not_given(client: httpx.Client) -> None:
    names = ("model", "encoding_format", "dimensions", "user", "prompt", "input_type", "truncate", "normalize")
    given = post(client, input="Hello", **dict.fromkeys(names))
    np.testing.assert_array_equal(vectors(given), vectors(post(client, input="Hello")))


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_does_not_matter(client: httpx.Client, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = client.post("/v1/embeddings", content=b'{"input": "Hello"}', headers=headers)
    assert response.status_code == 200


def test_the_route_answers_without_v1_too(client: httpx.Client) -> None:
    assert client.post("/embeddings", json={"input": "Hello"}).status_code == 200


def test_a_request_id_is_echoed_and_a_bad_one_replaced(client: httpx.Client) -> None:
    def echoed(sent: str) -> str:
        return client.post("/v1/embeddings", json={"input": "a"}, headers={"x-request-id": sent}).headers[
            "x-request-id"
        ]

    assert echoed("job-17/part-3") == "job-17/part-3"
    for bad in ("two words", "x" * 129, ""):
        assert echoed(bad) != bad
        assert len(echoed(bad)) == 32


def test_many_clients_each_get_exactly_their_own_vector(server: Any, starter_dir: Path) -> None:
    texts = [f"Client number {number} asks about {'more ' * (number % 7)}things." for number in range(64)]
    with Embedder(str(starter_dir), format="fp32") as alone:
        expected = [alone.encode(text) for text in texts]
    barrier = threading.Barrier(len(texts))

    def ask(text: str) -> np.ndarray:
        with httpx.Client(base_url=server.url, timeout=60) as own:
            barrier.wait(timeout=30)
            return vectors(post(own, input=text))[0]

    with ThreadPoolExecutor(len(texts)) as pool:
        answers = list(pool.map(ask, texts))
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    # Close is not enough: each must be nearer to its own text's vector than to any other's.
    assert (np.stack(answers) @ np.stack(expected).T).argmax(axis=1).tolist() == list(range(len(texts)))


def test_a_large_answer_is_complete_and_in_order(client: httpx.Client) -> None:
    texts = [f"text {number}" for number in range(700)]  # large enough to be written in a thread
    response = post(client, input=texts)
    assert [item["index"] for item in response.json()["data"]] == list(range(700))
    np.testing.assert_allclose(vectors(response)[500:501], vectors(post(client, input=["text 500"])), atol=1e-5)
