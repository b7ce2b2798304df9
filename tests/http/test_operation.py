"""What operators look at: health through a server's life, metrics, the access line, the pages."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import logging
import re
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from farthing.core.errors import ModelNotFoundError
from farthing.engine.runner import Runner
from farthing.serving.embedder import Embedder


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Sample values by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_health_is_loading_then_ready(launch_load: Any, tiny_qwen3: Path) -> None:
    go_on = threading.Event()

    def load() -> Embedder:
        assert go_on.wait(30)
        return Embedder(str(tiny_qwen3))

    with launch_load(load, ready=False) as running:
        health = httpx.get(f"{running.url}/health")
        assert (health.status_code, health.json()["status"]) == (503, "loading")
        early = httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"})
        assert early.status_code == 503
        assert "still being loaded" in early.json()["error"]["message"]
        assert int(early.headers["retry-after"]) > 0
        assert httpx.get(f"{running.url}/metrics").status_code == 200
        assert httpx.get(f"{running.url}/v1/models").json()["data"][0]["id"] == "test-model"
        go_on.set()
        running.wait_until_ready()
        health = httpx.get(f"{running.url}/health")
        assert health.status_code == 200
        assert health.json() == {
            "status": "ready",
            "model": "test-model",
            "dimensions": running.embedder.dimensions,
            "context_length": running.embedder.context_length,
            "space": running.embedder.space.id,
            "memory": {"step": 0, "name": "as planned", "readings": health.json()["memory"]["readings"]},
        }
        head = httpx.head(f"{running.url}/health")
        assert (head.status_code, head.content) == (200, b"")


def test_a_model_that_cannot_be_loaded_is_said_to_every_request(launch_load: Any) -> None:
    def load() -> Embedder:
        raise ModelNotFoundError("No source has it.")

    with launch_load(load, ready=False) as running:
        for response in (
            httpx.get(f"{running.url}/health"),
            httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"}),
        ):
            assert response.status_code == 503
            assert "No source has it." in response.text
        assert running.service.exit_status == 1


def test_a_dead_worker_is_reported_until_it_is_restarted(
    launch: Any, tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise SystemExit("the device has gone")

    with launch(tiny_qwen3) as running:
        with monkeypatch.context() as patch:
            patch.setattr(Runner, "run", die)
            answer = httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "worker_died")
        health = httpx.get(f"{running.url}/health")
        assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
        assert "the device has gone" in health.json()["reason"]
        while httpx.get(f"{running.url}/health").status_code == 503:
            pass
        assert httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"}).status_code == 200
        deaths = samples(httpx.get(f"{running.url}/metrics").text)["farthing_worker_deaths_total", "test-model"]
        assert deaths == 1


def test_requests_that_outlast_the_stop_are_told_so(
    launch: Any, tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun = threading.Event()

    async def never(*_: object) -> None:
        begun.set()
        await asyncio.sleep(1000)

    with launch(tiny_qwen3) as running, ThreadPoolExecutor(1) as pool:
        running.web.config.timeout_graceful_shutdown = 1
        monkeypatch.setattr(running.service, "finish", never)
        waiting = pool.submit(httpx.post, f"{running.url}/v1/embeddings", json={"input": "a"}, timeout=30)
        assert begun.wait(10)
        running.web.should_exit = True
        answer = waiting.result(timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "closed")
    assert "Exception in ASGI application" not in caplog.text


def test_metrics_count_requests_texts_and_tokens(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3) as running:
        for body in ({"input": ["a", "b"]}, {"input": ["a", "b", "c"]}, {"input": None}):
            httpx.post(f"{running.url}/v1/embeddings", json=body)
        httpx.get(f"{running.url}/made/up/by/a/client")
        response = httpx.get(f"{running.url}/metrics")
        found = samples(response.text)
        stats = running.embedder.stats()
    assert response.headers["content-type"].startswith("text/plain")
    assert found["farthing_texts_total", "test-model"] == 5
    assert found["farthing_tokens_total", "test-model"] == stats.tokens_total > 0
    assert found["farthing_computed_tokens_total", "test-model"] == stats.computed_tokens_total > 0
    assert found["farthing_saved_tokens_total", "test-model"] == stats.saved_tokens_total
    assert stats.tokens_total == stats.computed_tokens_total + stats.saved_tokens_total
    assert found["farthing_batches_total", "test-model"] == stats.batches_total > 0
    assert found["farthing_waiting_texts", "interactive", "test-model"] == 0
    assert found["farthing_http_requests_total", "/v1/embeddings", "200"] == 2
    assert found["farthing_http_requests_total", "/v1/embeddings", "400"] == 1
    assert found["farthing_http_requests_total", "unknown", "404"] == 1
    assert found["farthing_http_request_seconds_count", "/v1/embeddings"] == 3
    assert found["process_resident_memory_bytes",] > 1e6
    assert "made/up" not in response.text


def test_openmetrics_is_given_to_who_asks(client: httpx.Client) -> None:
    response = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def test_every_request_is_one_line_without_its_texts(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client.post("/v1/embeddings?key=hunter2", json={"input": ["a private matter", "b"], "user": "someone"})
    client.get("/nothing%0Ahere")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("farthing.server")]
    assert len(ours) == 2
    assert re.fullmatch(r"POST /v1/embeddings 200 [\d.]+ ms texts=2 tokens=8 id=[0-9a-f]{32}", ours[0])
    assert re.fullmatch(r"GET /nothing%0Ahere 404 [\d.]+ ms id=[0-9a-f]{32}", ours[1])
    for secret in ("private", "someone", "hunter2"):
        assert not [line for line in ours if secret in line]


def test_the_openapi_document_describes_the_routes_as_they_are(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    scoring = {"/v1/rerank", "/v2/rerank", "/rerank", "/score"}
    tei = {"/", "/embed", "/embed_all", "/embed_sparse", "/similarity", "/tokenize", "/decode", "/info"}
    ollama = {f"/api/{name}" for name in ("embed", "embeddings", "show", "tags", "ps", "version")}
    others = {"/v1/embeddings", "/v1/models", "/v1/models/{name}", "/health", "/metrics", "/v1/embed", "/v2/embed"}
    assert set(document["paths"]) == scoring | tei | ollama | others
    embeddings = document["paths"]["/v1/embeddings"]["post"]
    schema = embeddings["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["input"]
    assert len(schema["properties"]["input"]["anyOf"]) == 5
    assert "HTTPValidationError" not in json.dumps(document)
    assert "$defs" not in json.dumps(document)
    statuses = {"200", "400", "403", "404", "408", "413", "415", "429", "500", "502", "503", "504"}
    assert set(embeddings["responses"]) - {"431"} == statuses
    for example in schema["examples"]:
        assert client.post("/v1/embeddings", json=example).status_code == 200


def test_the_docs_page_needs_nothing_else_and_its_commands_work(client: httpx.Client, server: Any) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.findall(r"<script|<link|<img|src=|@import|url\(", page.text)
    commands = [shlex.split(html.unescape(found)) for found in re.findall(r"<pre>(curl .*?)</pre>", page.text)]
    assert len(commands) == 31
    for _, url, *options in commands:
        assert url.startswith(server.url)
        body = options[options.index("-d") + 1] if options else None
        response = httpx.post(url, content=body) if body else httpx.get(url)
        # This server has no reranker; tests/http/test_rerank.py sends these commands to one that has.
        refused = {"/rerank": 424, "/v1/rerank": 400, "/v2/rerank": 400, "/score": 400}
        refused |= {"/embed_sparse": 424}
        assert response.status_code == refused.get(url.removeprefix(server.url), 200), url


def test_a_hostile_host_header_is_refused_and_not_repeated_as_markup(client: httpx.Client) -> None:
    answer = client.get("/docs", headers={"host": "<script>alert(1)</script>"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "accept",
    ["application/openmetrics-text; version=abc", "application/openmetrics-text; version=", "text/plain; version=x.y",
     "application/openmetrics-text;version=1.0.0;escaping=nothing", "application/openmetrics-text; version=99.9",
     "application/openmetrics-text; version=1.0.0+\xe9", "application/openmetrics-text; version=1.0.0rc1", ";;;=,,=;",
     "text/plain; version=" + "1." * 5000, "text/plain; version=" + "9" * 20000, "*/*" + ";q=0.1" * 3000, "\xff"],
)  # fmt: skip
def test_metrics_are_given_whatever_is_accepted(client: httpx.Client, accept: str) -> None:
    answer = client.get("/metrics", headers={"accept": accept.encode("latin-1")})
    assert answer.status_code == 200
    assert "farthing_http_requests_total" in answer.text or "farthing" in answer.text


@pytest.mark.parametrize("path", ["/health", "/docs", "/metrics", "/v1/models", "/openapi.json", "/"])
def test_odd_headers_are_no_errors_of_the_server(client: httpx.Client, path: str) -> None:
    for name in ("accept", "accept-encoding", "range", "if-none-match", "if-modified-since", "cookie",
                 "traceparent", "tracestate", "baggage", "content-type", "authorization", "x-api-key", "expect", "te",
                 "x-request-timeout-ms", "x-priority", "x-forwarded-for", "x-forwarded-proto", "forwarded",
                 "access-control-request-method", "x-request-id", "referer", "user-agent"):  # fmt: skip
        for value in (b"", b"\xff\xfe", b'=;,"', b"bytes=9-1", b"1" * 5000, b"text/plain; charset=nothing"):
            status = client.get(path, headers={name: value}).status_code
            assert status < 500, (name, value[:20])


@pytest.mark.parametrize("headers", [{}, {"host": "localhost:1"}])
def test_a_slash_at_the_end_changes_nothing_and_redirects_nowhere(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    for path in ("/health", "/docs", "/v1/models"):
        answer = client.get(f"{path}/", headers=headers)
        assert answer.status_code == 200
        assert "location" not in answer.headers
    answer = client.post("/v1/embeddings/", json={"input": "a"}, headers=headers)
    assert answer.status_code == 200
    assert client.get("/health//").status_code == 404


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html;q=0.5, application/json", "text/plain"])
def test_the_root_says_what_this_is(client: httpx.Client, accept: str | None) -> None:
    answer = client.get("/", headers={} if accept is None else {"accept": accept})
    assert answer.json()["model"] == "minilm"
    assert answer.headers["vary"] == "accept"


BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_a_browser_gets_a_page_at_the_root(client: httpx.Client, server: Any) -> None:
    page = client.get("/", headers=BROWSER)
    assert page.headers["content-type"].startswith("text/html")
    assert "<code>minilm</code> makes vectors" in page.text
    links = re.findall('href="([^"]*)"', page.text)
    assert links == ["/docs", "/health", "/metrics", "/openapi.json"]
    assert [client.get(link).status_code for link in links] == [200] * 4
    (command,) = re.findall(r"<pre>(curl .*?)</pre>", page.text)
    _, url, *options = shlex.split(html.unescape(command))
    assert url == f"{server.url}/v1/embeddings"
    assert httpx.post(url, content=options[options.index("-d") + 1]).status_code == 200
    assert client.head("/", headers=BROWSER).headers["content-type"].startswith("text/html")
    assert client.post("/", json={"inputs": "a"}, headers=BROWSER).json()[0]  # TEI's route


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_are_told_to_load_and_run_nothing(client: httpx.Client, path: str) -> None:
    page = client.get(path, headers=BROWSER)
    (style,) = re.findall("<style>(.*?)</style>", page.text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
    assert "frame-ancestors 'none'" in policy
    assert (page.headers["x-content-type-options"], page.headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert not re.findall(r"<script|<link|<img|src=|@import|url\(|style=| on[a-z]+=", page.text)
    refused = client.get(path, headers={**BROWSER, "host": "<b>evil</b>"})
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/json")


def test_the_docs_page_has_a_list_of_contents(client: httpx.Client) -> None:
    page = client.get("/docs").text
    operations = [
        f"{method.upper()} {path}"
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    ]
    contents = page[page.index("<nav>") : page.index("</nav>")]
    linked = re.findall(r'<a href="#([a-z0-9-]+)"><code>([^<]*)</code></a>', contents)
    assert sorted(html.unescape(name) for _, name in linked) == sorted(operations)
    anchors = [anchor for anchor, _ in linked]
    assert sorted(re.findall(r'<h2 id="([^"]*)">', page)) == sorted(anchors)
    assert len(set(anchors)) == len(operations)
    assert "white-space: pre-wrap" in page  # a long command is seen as a whole
    assert "Successful Response" not in page
    assert "&quot;owned_by&quot;: &quot;farthing&quot;" in page  # an answer of GET /v1/models
