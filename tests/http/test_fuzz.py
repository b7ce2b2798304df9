"""Whatever JSON stands in whichever field: 200 or a client error in OpenAI's shape, and the server lives on."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiers import examples

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
POST_PATHS = (
    *("/v1/embeddings", "/v1/rerank", "/v2/rerank", "/rerank", "/score", "/v1/embed", "/v2/embed"),
    *("/", "/embed", "/embed_all", "/embed_sparse", "/similarity", "/tokenize", "/decode"),
    *("/api/embed", "/api/embeddings", "/api/show"),
)
ERROR_FIELDS = {
    "ErrorResponse": {"error"},
    "TeiError": {"error", "error_type"},
    "CohereError": {"message"},
    "OllamaError": {"error"},
}
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
    max_examples=examples(250),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
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


@pytest.fixture(scope="module")
def documented(client: httpx.Client) -> dict[str, Any]:
    paths = client.get("/openapi.json").json()["paths"]
    return {path: methods["post"] for path, methods in paths.items() if "post" in methods}


@pytest.mark.parametrize("path", POST_PATHS)
@settings(FUZZ, max_examples=examples(40))
@given(data=st.data())
def test_every_route_answers_as_its_document_says(
    client: httpx.Client, documented: dict[str, Any], path: str, data: st.DataObject
) -> None:
    """A good body with any JSON in any of its fields, and with fields that nobody knows."""
    schema = documented[path]["requestBody"]["content"]["application/json"]["schema"]
    good = data.draw(st.sampled_from(schema["examples"]))
    others = data.draw(st.dictionaries(st.sampled_from(sorted(schema["properties"])) | texts, values, max_size=3))
    response = client.post(path, content=json.dumps(good | others))
    assert str(response.status_code) in documented[path]["responses"], response.text
    if response.status_code >= 400:
        answer = documented[path]["responses"][str(response.status_code)]
        name = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert set(response.json()) == ERROR_FIELDS[name]


def test_no_route_is_left_out(documented: dict[str, Any]) -> None:
    assert set(documented) == set(POST_PATHS)
