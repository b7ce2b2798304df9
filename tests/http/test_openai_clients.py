"""The clients that people already have: OpenAI's own, and LangChain's on top of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
COSINES = [0.6660, 0.1046, 0.1411]


def cosines(vectors: Any) -> list[float]:
    first, second, third = np.array(vectors)
    return [first @ second, first @ third, second @ third]


@pytest.fixture(scope="module")
def openai_client(server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_the_openai_client_gets_the_known_vectors(openai_client: openai.OpenAI) -> None:
    answer = openai_client.embeddings.create(model="minilm", input=SENTENCES)  # asks for base64 by itself
    assert cosines([item.embedding for item in answer.data]) == pytest.approx(COSINES, abs=5e-4)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    assert answer.usage.model_dump()["prompt_tokens_details"] == {"cached_tokens": 0}


def test_the_openai_client_takes_dimensions_and_our_own_fields(openai_client: openai.OpenAI) -> None:
    cut = openai_client.embeddings.create(
        model="minilm", input="Hello", dimensions=8, encoding_format="float", extra_body={"normalize": False}
    )
    vector = np.array(cut.data[0].embedding)
    assert vector.shape == (8,)
    assert abs(np.linalg.norm(vector) - 1) > 0.01


def test_the_openai_client_lists_the_model(openai_client: openai.OpenAI) -> None:
    assert [model.id for model in openai_client.models.list()] == ["minilm"]
    assert openai_client.models.retrieve("minilm").owned_by == "farthing"


def test_the_openai_client_raises_its_own_errors(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        openai_client.embeddings.create(model="minilm", input="Hello", dimensions=100_000)
    assert (bad.value.param, bad.value.code) == ("dimensions", "invalid_dimensions")
    with pytest.raises(openai.NotFoundError) as unknown:
        openai_client.embeddings.create(model="text-embedding-3-small", input="Hello")
    assert unknown.value.code == "model_not_found"
    assert "'minilm'" in str(unknown.value)


def test_the_async_openai_client_gets_the_same(server: Any) -> None:
    async def ask() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
            answers = await asyncio.gather(
                *(client.embeddings.create(model="minilm", input=text) for text in SENTENCES)
            )
        return [answer.data[0].embedding for answer in answers]

    assert cosines(asyncio.run(ask())) == pytest.approx(COSINES, abs=5e-4)


def test_langchain_gets_the_same(server: Any) -> None:
    embeddings = OpenAIEmbeddings(
        model="minilm", base_url=f"{server.url}/v1", api_key="unused", check_embedding_ctx_length=False
    )
    assert cosines(embeddings.embed_documents(SENTENCES)) == pytest.approx(COSINES, abs=5e-4)
    assert len(embeddings.embed_query("Hello")) == 384
