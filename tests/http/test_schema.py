"""The OpenAPI document against the server: requests made from it, right and wrong ones, are answered as it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from farthing.core.settings import AccessSettings, ServerSettings
from farthing.server.models.slot import ModelEntry
from farthing.serving.embedder import Embedder
from farthing.serving.reranker import Reranker
from tiers import examples

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis needs Python 3.11")

POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
KEY = "sk-of-the-schema-test"
# What the server says when it has too much to do, and when the time that a request allowed itself is over.
DOCUMENTED_FAILURES = ["503", "504"]
EXAMPLES = settings(
    max_examples=examples(10), deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def served(
    launch_load: Callable[..., Any], tiny_qwen3: Path, tiny_reranker: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Runs a server with an embedding model and a reranker; gives what schemathesis makes of its document."""

    indexes = tmp_path_factory.mktemp("indexes")

    @contextmanager
    def serve(**more: Any) -> Iterator[Any]:
        judge = ModelEntry("judge", lambda: Reranker(str(tiny_reranker)), task="rerank")
        options = {"name": "tiny", "others": [judge], "server": ServerSettings(index_folder=str(indexes))}
        with launch_load(lambda: Embedder(str(tiny_qwen3)), **options, **more) as running:
            statuses = {"expected-statuses": ["2xx", "3xx", "4xx", *DOCUMENTED_FAILURES]}
            # What a schema cannot say: a text has visible characters, pairs are as many on both sides.
            checks = {"not_a_server_error": statuses, "positive_data_acceptance": {"enabled": False}}
            config = schemathesis.Config.from_dict({"checks": checks})
            yield schemathesis.openapi.from_url(f"{running.url}/openapi.json", config=config)

    return serve


def check_all(document: Any, mode: Any, **options: Any) -> None:
    """Requests of `mode` to every route; every answer goes through every check of schemathesis."""
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        if mode is NEGATIVE and operation.method != "post":
            continue  # there is nothing in it that could be wrong

        @EXAMPLES
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate(**options)

        check()


def test_every_route_answers_as_the_document_says(served: Callable[..., Any]) -> None:
    with served() as document:
        check_all(document, POSITIVE)
        check_all(document, NEGATIVE)


def test_a_server_with_keys_and_limits_does_too(served: Callable[..., Any]) -> None:
    access = AccessSettings(api_key=KEY, requests_per_minute=10_000_000, wrong_keys_per_minute=10_000_000)
    with served(access=access) as document:
        check_all(document, POSITIVE, headers={"Authorization": f"Bearer {KEY}"})
