"""Whatever JSON stands in whichever field: 200 or a client error in OpenAI's shape, and the server lives on."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIELDS = (
    "input",
    "model",
    "encoding_format",
    "dimensions",
    "user",
    "instruction",
    "prompt_name",
    "prompt",
    "input_type",
    "truncate",
    "normalize",
)
# The full range of characters, lone surrogates too; JSON as Python writes it, NaN and Infinity too.
texts = st.text(st.characters(), max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.integers(-2, 400) | st.floats() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3))
inputs = texts | st.lists(texts, max_size=5) | st.lists(st.integers(-1, 40_000), max_size=9) | values
likely = {
    "input": inputs,
    "encoding_format": st.sampled_from(["float", "base64"]) | values,
    "input_type": st.sampled_from(["query", "document"]) | values,
    "model": st.sampled_from(["minilm", "", None]) | values,
}
bodies = st.fixed_dictionaries(
    {"input": inputs}, optional={name: likely.get(name, values) for name in FIELDS if name != "input"}
) | st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=6)

FUZZ = settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def _server_answers_afterwards(client: httpx.Client) -> Any:
    yield
    assert client.post("/v1/embeddings", json={"input": "Hello"}).status_code == 200


def check(response: httpx.Response) -> None:
    if response.status_code == 200:
        assert response.json()["object"] == "list"
        return
    assert 400 <= response.status_code < 500, response.text
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@FUZZ
@given(body=bodies)
def test_any_json_in_any_field_is_answered(client: httpx.Client, body: Any) -> None:
    check(client.post("/v1/embeddings", content=json.dumps(body)))


@FUZZ
@given(body=st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_a_body_are_answered(client: httpx.Client, body: bytes) -> None:
    check(client.post("/v1/embeddings", content=body))


@FUZZ
@given(path=texts, request_id=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_any_path_and_request_id_are_answered(client: httpx.Client, path: str, request_id: str) -> None:
    encoded = quote(path.encode("utf-8", "surrogatepass"), safe="")
    response = client.get(f"/v1/models/{encoded}", headers={"x-request-id": request_id.strip()})
    assert response.status_code in (200, 307, 404)
