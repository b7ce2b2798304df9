"""What the OpenAPI document says of good answers, against a live server with every route that there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing import Embedder, Reranker
from farthing.core.settings import ServerSettings
from farthing.server.models.slot import ModelEntry
from farthing.server.pages.openapi_answers import ANSWERS, OTHERWISE

DOCUMENT = {"id": "p1", "text": "Open the settings and choose a new password.", "metadata": {"year": 2026}}
# Where the first example of a body is not what the example of an answer is for.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/rerank"): {"query": "a", "texts": ["b", "c"]},
    ("POST", "/v1/embed"): {"texts": ["hello"]},
    ("POST", "/v2/embed"): {"texts": ["hello"], "embedding_types": ["float"]},
    ("POST", "/tokenize"): {"inputs": ["hello"]},
    ("POST", "/v1/indexes"): {"name": "made"},
    ("POST", "/v1/indexes/{name}/documents"): {"documents": [DOCUMENT]},
    ("POST", "/v1/indexes/{name}/documents/delete"): {"ids": ["none"]},
    ("POST", "/v1/indexes/{name}/search"): {"query": "password"},
}
NEVER_GOOD = ("POST", "/embed_sparse")


@pytest.fixture(scope="module")
def client(
    launch_load: Any, starter_dir: Path, tiny_reranker: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    judge = ModelEntry("judge", lambda: Reranker(str(tiny_reranker)), task="rerank")
    settings = ServerSettings(index_folder=str(tmp_path_factory.mktemp("indexes")))
    with (
        launch_load(lambda: Embedder(str(starter_dir)), name="minilm", others=[judge], server=settings) as running,
        httpx.Client(base_url=running.url, timeout=60) as session,
    ):
        yield session


@pytest.fixture(scope="module")
def operations(client: httpx.Client) -> dict[tuple[str, str], Any]:
    paths = client.get("/openapi.json").json()["paths"]
    return {(method.upper(), path): one for path, methods in paths.items() for method, one in methods.items()}


def test_every_good_answer_is_told_in_words(operations: dict[tuple[str, str], Any]) -> None:
    words = {key: operation["responses"]["200"]["description"] for key, operation in operations.items()}
    assert OTHERWISE not in words.values()
    assert all(text.endswith(".") for text in words.values()), words


def test_every_row_is_of_a_route_that_there_is(operations: dict[tuple[str, str], Any]) -> None:
    assert set(ANSWERS) <= set(operations)


def test_every_answer_has_an_example_and_is_like_it(
    client: httpx.Client, operations: dict[tuple[str, str], Any]
) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    client.post("/v1/indexes", json={"name": "help"})
    client.post("/v1/indexes/help/documents", json={"documents": [DOCUMENT]})
    # What removes an index comes last.
    for (method, path), operation in sorted(operations.items(), key=lambda item: item[0][0] == "DELETE"):
        content = operation["responses"]["200"].get("content", {}).get("application/json")
        if content is None or (method, path) == NEVER_GOOD:
            continue
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        example = content.get("example", schemas.get(name, {}).get("example"))
        assert example is not None, (method, path)
        body = BODIES.get((method, path))
        if body is None and "requestBody" in operation:
            body = operation["requestBody"]["content"]["application/json"]["schema"]["examples"][0]
        filled = path.replace("{name}", "help" if "indexes" in path else "minilm")
        answer = client.request(method, filled, json=body)
        assert answer.status_code == 200, (method, path, answer.text)
        assert difference(example, answer.json()) == "", (method, path)


def difference(example: Any, answer: Any, place: str = "") -> str:
    """Where an answer is not of the shape of its example; nothing where it is. Null, and an empty list, are of any."""
    if example is None or answer is None:
        return ""
    if isinstance(example, dict):
        if not isinstance(answer, dict):
            return f"{place} is no object"
        # What a server says of the memory, of several models, of a model and of documents is theirs.
        own = {"memory", "models"} if place == "" and "status" in example else set()
        if place.endswith((".metadata", ".model_info")):
            return ""
        if set(example) != set(answer) - own:
            return f"{place}: {set(example) ^ set(answer)}"
        return next(filter(None, (difference(example[key], answer[key], f"{place}.{key}") for key in example)), "")
    if isinstance(example, list):
        if not isinstance(answer, list):
            return f"{place} is no list"
        return difference(example[0], answer[0], f"{place}[0]") if example and answer else ""
    kinds = [
        (bool,) if isinstance(item, bool) else (int, float) if isinstance(item, (int, float)) else (str,)
        for item in (example, answer)
    ]
    return "" if kinds[0] == kinds[1] else f"{place} is {answer!r}"
