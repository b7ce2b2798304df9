"""Traces of a live server, as a collector gets them."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from otlp_receiver import Receiver, attributes, receive_spans

from farthing.core.errors import MissingExtraError
from farthing.core.settings import TelemetrySettings
from farthing.server.observe.tracing import NoTracing, open_tracing

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"


@contextmanager
def traced(launch: Any, folder: Path, endpoint: str) -> Iterator[Any]:
    """A server that sends its traces there; what is left is sent when the block ends."""
    telemetry = TelemetrySettings(otlp_endpoint=endpoint)
    tracing = open_tracing(telemetry)
    try:
        with launch(folder, groups=[telemetry], tracing=tracing) as running:
            yield running
    finally:
        tracing.close()


@pytest.fixture(scope="module")
def received(launch: Any, tiny_qwen3: Path) -> Iterator[Receiver]:
    """The spans of three requests."""
    with receive_spans() as receiver:
        with traced(launch, tiny_qwen3, receiver.url) as running:
            parent = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "x-request-id": "mine"}
            httpx.post(f"{running.url}/v1/embeddings", json={"input": ["a", "b c"]}, headers=parent)
            unsampled = {"traceparent": f"00-{'1' * 32}-{PARENT_ID}-00"}
            httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"}, headers=unsampled)
            httpx.post(f"{running.url}/v1/embeddings", json={"input": "secret"}, headers={"traceparent": "nonsense"})
            httpx.get(f"{running.url}/made/up")
        yield receiver


def test_a_request_is_a_span_in_its_callers_trace(received: Receiver) -> None:
    span = received.named("POST /v1/embeddings")[0]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    found = attributes(span)
    assert found["http.route"] == "/v1/embeddings"
    assert found["http.response.status_code"] == 200
    assert (found["farthing.texts"], found["farthing.request_id"]) == (2, "mine")
    assert int(found["farthing.tokens"]) > 0
    assert received.services == {"farthing"}


def test_its_stages_lie_inside_it_one_after_the_other(received: Receiver) -> None:
    span = received.named("POST /v1/embeddings")[0]
    stages = received.children(span)
    assert set(stages) == {"read", "tokenise", "queue", "compute", "write"}
    times = [span.start_time_unix_nano]
    for name in ("read", "tokenise", "queue", "compute", "write"):
        times += [stages[name].start_time_unix_nano, stages[name].end_time_unix_nano]
    times.append(span.end_time_unix_nano)
    assert times == sorted(times)
    assert abs(span.end_time_unix_nano / 1e9 - time.time()) < 600


def test_what_the_caller_does_not_sample_is_not_sent(received: Receiver) -> None:
    traces = {span.trace_id.hex() for span in received.spans}
    assert len(traces) == 3
    assert "1" * 32 not in traces


def test_a_header_that_is_no_traceparent_begins_a_trace(received: Receiver) -> None:
    assert not received.named("POST /v1/embeddings")[1].parent_span_id


def test_spans_name_routes_not_what_clients_made_up(received: Receiver) -> None:
    (span,) = received.named("GET unknown")
    assert attributes(span)["http.response.status_code"] == 404
    assert not any("secret" in str(span) for span in received.spans)


def test_a_collector_that_is_gone_costs_no_request_and_little_at_the_end(
    launch: Any, tiny_qwen3: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts and never answers
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with traced(launch, tiny_qwen3, endpoint) as running:
            for _ in range(5):
                answer = httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"})
                assert answer.status_code == 200
            began = time.monotonic()
        assert time.monotonic() - began < 10
    assert "Traceback" not in caplog.text


def test_a_server_error_marks_its_span(launch: Any, tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    with receive_spans() as receiver:
        with traced(launch, tiny_qwen3, receiver.url) as running:
            monkeypatch.setattr(running.service, "finish", fail)
            assert httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"}).status_code == 500
        (span,) = receiver.named("POST /v1/embeddings")
        assert span.status.code == 2


def test_without_an_endpoint_nothing_of_opentelemetry_is_made() -> None:
    assert isinstance(open_tracing(TelemetrySettings()), NoTracing)


def test_without_the_extra_its_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'farthing\[otel\]'"):
        open_tracing(TelemetrySettings(otlp_endpoint="http://localhost:4318"))
