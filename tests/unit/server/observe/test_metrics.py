"""Metrics without a server: what is counted, and what is not looked up again."""

from __future__ import annotations

import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Scope

from farthing.core.settings import ServingSettings
from farthing.server.http.request_record import Exchange
from farthing.server.observe.metrics import Metrics, ModelState, ServerState, catalogue
from farthing.serving.request import Timings
from farthing.serving.stats import Observer, ServingStats


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    text = metrics.render("")[0].decode()
    families = text_string_to_metric_families(text)
    return {(item.name, *item.labels.values()): item.value for family in families for item in family.samples}


def finished(status: int = 200, timings: Timings | None = None) -> Exchange:
    scope: Scope = {"type": "http", "method": "POST", "headers": [], "raw_path": b"/v1/embeddings"}
    exchange = Exchange.begin(scope)
    exchange.status = status
    if timings is not None:
        exchange.note_work(2, 30, timings)
    exchange.finish()
    return exchange


def test_requests_are_counted_with_their_texts_and_stages() -> None:
    metrics = Metrics(ServerState)
    metrics.count(finished(timings=Timings(0.25, 0.5, 1.0)))
    metrics.count(finished(timings=Timings()))  # all from a cache
    metrics.count(finished(status=400))
    found = samples(metrics)
    assert found["farthing_http_requests_total", "unknown", "200"] == 2
    assert found["farthing_http_requests_total", "unknown", "400"] == 1
    assert (found["farthing_answered_texts_total",], found["farthing_answered_tokens_total",]) == (4, 60)
    stages = {"tokenise": 0.25, "queue": 0.5, "compute": 1.0}
    for name, seconds in stages.items():
        assert found["farthing_request_stage_seconds_sum", name] == pytest.approx(seconds)
        assert found["farthing_request_stage_seconds_count", name] == 1
    assert found["farthing_request_stage_seconds_count", "write"] == 2


def test_labels_are_looked_up_once_and_not_for_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics(ServerState)
    metrics.count(finished(timings=Timings(1, 1, 1)))

    def refuse(*_: object) -> None:
        raise AssertionError("looked up again")

    monkeypatch.setattr(Counter.__mro__[1], "labels", refuse)
    metrics.count(finished(timings=Timings(1, 1, 1)))


def test_a_worker_fills_the_histograms_of_its_model() -> None:
    metrics = Metrics(ServerState)
    observer: Observer = metrics.observer("a")
    observer.queue_wait_s(0.3)
    observer.batch(num_texts=3, num_tokens=700, seconds=0.4)
    metrics.observer("b").batch(num_texts=1, num_tokens=1, seconds=1)
    found = samples(metrics)
    assert found["farthing_queue_wait_seconds_sum", "a"] == pytest.approx(0.3)
    assert found["farthing_batch_texts_sum", "a"] == 3
    assert found["farthing_batch_tokens_bucket", "512.0", "a"] == 0
    assert found["farthing_batch_tokens_bucket", "1024.0", "a"] == 1
    assert found["farthing_batch_duration_seconds_sum", "b"] == 1


def test_the_state_of_every_model_is_told() -> None:
    model = ModelState("m", ServingStats(waiting_texts=7), True, "cpu", "int8", False, {("weights", "host"): 5})
    found = samples(Metrics(lambda: ServerState(ready=True, models=[model])))
    assert found["farthing_ready",] == 1
    assert found["farthing_worker_ready", "m"] == 0
    assert found["farthing_waiting_texts", "interactive", "m"] == 7
    assert found["farthing_planned_bytes", "weights", "m", "host"] == 5
    assert found["farthing_model_info", "cpu", "int8", "m"] == 1


def test_a_request_is_in_flight_until_it_is_answered() -> None:
    metrics = Metrics(ServerState)
    with metrics.in_flight.track_inprogress():
        assert samples(metrics)["farthing_http_requests_in_flight",] == 1
    assert samples(metrics)["farthing_http_requests_in_flight",] == 0


@pytest.mark.parametrize("metric", catalogue.catalogue(), ids=lambda metric: metric.name)
def test_names_follow_prometheus_conventions(metric: catalogue.Metric) -> None:
    assert metric.name.startswith("farthing_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert tuple(sorted(metric.buckets)) == metric.buckets
    assert metric.help.endswith(".")
    assert not [unit for unit in ("_ms", "_milliseconds", "_mb", "_kb") if unit in metric.name]


def test_batches_as_large_as_the_settings_allow_have_a_bucket() -> None:
    assert catalogue.TEXT_BUCKETS[-1] >= ServingSettings().max_batch_size
