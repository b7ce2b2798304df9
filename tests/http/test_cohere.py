"""Cohere's dialect, as its own client speaks it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cohere
import httpx
import numpy as np
import pytest

from farthing.core.settings import ServerSettings, ServingSettings
from farthing.server.dialects import writing

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
COSINES = [0.6660, 0.1046]
TYPES = ["float", "int8", "uint8", "binary", "ubinary", "base64"]


@pytest.fixture(scope="module")
def cohere_client(server: Any) -> Iterator[cohere.ClientV2]:
    with httpx.Client(timeout=60) as session:
        yield cohere.ClientV2(api_key="unused", base_url=server.url, httpx_client=session, max_retries=0)


@pytest.fixture(scope="module")
def floats(client: httpx.Client) -> np.ndarray:
    return np.array(client.post("/embed", json={"inputs": SENTENCES}).json())


def test_the_cohere_client_gets_every_number_type(cohere_client: cohere.ClientV2, floats: np.ndarray) -> None:
    answer = cohere_client.embed(
        model="minilm", texts=SENTENCES, input_type="search_document", embedding_types=TYPES, truncate="END"
    )
    assert answer.response_type == "embeddings_by_type"
    assert (len(answer.id), answer.texts) == (32, SENTENCES)
    found = answer.embeddings
    assert np.array(found.float_) == pytest.approx(floats, abs=1e-6)
    assert [floats[0] @ floats[1], floats[0] @ floats[2]] == pytest.approx(COSINES, abs=5e-4)
    whole = np.array(found.int8)
    assert np.abs(whole).max(axis=1).tolist() == [127] * 3
    assert (whole / np.linalg.norm(whole, axis=1, keepdims=True) * floats).sum(axis=1).min() > 0.999
    assert (np.array(found.uint8) - 128).tolist() == whole.tolist()
    assert np.unpackbits(np.array(found.ubinary, np.uint8), axis=1).tolist() == (floats > 0).astype(int).tolist()
    assert (np.array(found.binary) + 128).tolist() == found.ubinary
    assert found.base64 is not None
    assert [np.frombuffer(base64.b64decode(text), "<f4").tolist() for text in found.base64] == np.float32(
        found.float_
    ).tolist()
    assert answer.meta is not None
    assert answer.meta.billed_units is not None
    assert answer.meta.billed_units.input_tokens == 25


def test_the_cohere_client_gets_what_it_asks_for_alone(cohere_client: cohere.ClientV2) -> None:
    plain = cohere_client.embed(model="minilm", texts=["a"], input_type="clustering", output_dimension=16)
    assert plain.embeddings.int8 is None
    assert np.array(plain.embeddings.float_).shape == (1, 16)


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # that the client gives
def test_the_older_client_gets_plain_floats_or_types(server: Any, floats: np.ndarray) -> None:
    with httpx.Client(timeout=60) as session:
        client = cohere.Client(api_key="unused", base_url=server.url, httpx_client=session)
        plain = client.embed(texts=SENTENCES, model="minilm", input_type="search_query")
        assert plain.response_type == "embeddings_floats"
        assert np.array(plain.embeddings) == pytest.approx(floats, abs=1e-6)
        typed = client.embed(texts=SENTENCES, model="minilm", embedding_types=["ubinary"])
        assert typed.response_type == "embeddings_by_type"
        assert np.array(typed.embeddings.ubinary).shape == (3, 48)


def test_the_cohere_client_raises_its_own_errors(cohere_client: cohere.ClientV2) -> None:
    with pytest.raises(cohere.NotFoundError) as unknown:
        cohere_client.embed(model="embed-v4.0", texts=["a"], input_type="search_query")
    assert unknown.value.body == {"message": "This server has no model 'embed-v4.0'; it serves 'minilm'."}
    with pytest.raises(cohere.BadRequestError, match="only texts are embedded"):
        cohere_client.embed(model="minilm", images=["data:image/png;base64,AA=="], input_type="image")
    with pytest.raises(cohere.BadRequestError, match="has 302 tokens"):
        cohere_client.embed(model="minilm", texts=["wren " * 300], input_type="search_query", truncate="NONE")


def test_prompts_for_queries_are_the_models_own(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3) as running, httpx.Client(base_url=running.url) as client:

        def vector(**body: Any) -> list[float]:
            found: list[float] = client.post("/v2/embed", json={"texts": ["a"]} | body).json()["embeddings"]["float"][0]
            return found

        own = client.post("/v1/embeddings", json={"input": "a", "input_type": "query"}).json()["data"][0]["embedding"]
        assert vector(input_type="search_query") == pytest.approx(own, abs=1e-6)
        plain = vector(input_type="search_document")
        assert plain != pytest.approx(own, abs=1e-3)
        assert vector(input_type="classification") == pytest.approx(plain, abs=1e-6) == vector()


def test_long_texts_lose_the_end_that_is_asked_for(client: httpx.Client) -> None:
    def vector(text: str, **body: Any) -> list[float]:
        found: list[float] = client.post("/v2/embed", json={"texts": [text]} | body).json()["embeddings"]["float"][0]
        return found

    text = "wren " * 254 + "eagle " * 254
    first, last = vector("wren " * 254), vector("eagle " * 254)
    assert vector(text) == vector(text, truncate="END") == pytest.approx(first, abs=1e-5)
    assert vector(text, truncate="START") == pytest.approx(last, abs=1e-5)


def test_texts_may_come_as_mixed_inputs_and_be_cut_to_a_number_of_tokens(client: httpx.Client) -> None:
    def vectors(**body: Any) -> Any:
        return pytest.approx(np.array(client.post("/v2/embed", json=body).json()["embeddings"]["float"]), abs=1e-5)

    content = [{"type": "text", "text": "a wren"}, {"type": "text", "text": "in a tree"}]
    assert vectors(inputs=[{"content": content}]).expected.tolist() == vectors(texts=["a wren\nin a tree"])
    cut = vectors(texts=["wren wren wren eagle"], max_tokens=5).expected
    assert cut.tolist() == vectors(texts=["wren wren wren"])
    at_start = vectors(texts=["eagle wren wren wren"], max_tokens=5, truncate="START").expected
    assert at_start.tolist() == vectors(texts=["wren wren wren"])


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({}, 400, "'texts' is required"),
        ({"texts": []}, 400, "'texts' is an empty list"),
        ({"texts": "a"}, 400, "'texts' must be a list of strings"),
        ({"texts": ["a", 1]}, 400, "'texts[1]' is an integer"),
        ({"texts": ["a"], "input_type": "image"}, 400, "'input_type' must be"),
        ({"texts": ["a"], "embedding_types": ["int4"]}, 400, "'embedding_types[0]' must be"),
        ({"texts": ["a"], "output_dimension": 385}, 400, "this model has 1 to 384"),
        ({"texts": ["a"], "output_dimension": 12, "embedding_types": ["binary"]}, 400, "12 is no multiple of 8"),
        ({"texts": ["a"], "truncate": "end"}, 400, "'truncate' must be"),
        ({"inputs": [{"content": []}]}, 400, "'inputs[0]' must have a content of texts alone"),
        ({"inputs": [{"content": [{"type": "image_url", "image_url": {}}]}]}, 400, "'inputs[0]' must have"),
        ({"texts": ["a"], "inputs": [{"content": [{"type": "text", "text": "a"}]}]}, 400, "send one of them"),
        ({"texts": ["a"], "max_tokens": 2}, 400, "adds 2 special tokens"),
        ({"texts": ["wren " * 9], "max_tokens": 5, "truncate": "NONE"}, 400, "has 11 tokens"),
        ({"texts": ["a"], "embeding_types": ["int8"]}, 400, "Did you mean 'embedding_types'?"),
        ({"text": ["a"]}, 400, "Did you mean 'texts'?"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
def test_errors_have_their_shape(client: httpx.Client, path: str, body: dict[str, Any], status: int, part: str) -> None:
    answer = client.post(path, json=body)
    assert set(answer.json()) == {"message"}
    assert part in answer.json()["message"]
    assert answer.status_code == status


def test_limits_are_errors_of_the_dialect_too(launch: Any, tiny_qwen3: Path) -> None:
    serving, server = ServingSettings(max_texts_per_request=2), ServerSettings(max_body_bytes=1024)
    with launch(tiny_qwen3, serving=serving, server=server) as running:
        many = httpx.post(f"{running.url}/v2/embed", json={"texts": ["a"] * 3})
        large = httpx.post(f"{running.url}/v2/embed", json={"texts": ["a" * 2000]})
        scored = httpx.post(f"{running.url}/v2/rerank", json={"query": "a", "documents": ["b"]})
    assert (many.status_code, large.status_code, scored.status_code) == (400, 413, 400)
    for answer in (many, large, scored):
        assert set(answer.json()) == {"message"}


def test_large_answers_are_written_in_a_thread_and_the_same(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"texts": SENTENCES, "embedding_types": TYPES}
    small = client.post("/v2/embed", json=body).json()
    monkeypatch.setattr(writing, "LARGE_NUMBERS", 1)
    large = client.post("/v2/embed", json=body).json()
    assert large["embeddings"]["binary"] == small["embeddings"]["binary"]
    assert np.array(large["embeddings"]["float"]) == pytest.approx(np.array(small["embeddings"]["float"]), abs=1e-6)
