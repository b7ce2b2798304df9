"""What is documented, drawn and alerted on is what a live server tells."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from farthing.core.settings import CacheSettings
from farthing.server.observe.metrics.catalogue import catalogue

DEPLOY = Path(__file__).parents[2] / "deploy"
HISTOGRAM_SERIES = ("_bucket", "_sum", "_count")


@pytest.fixture(scope="module")
def exported(launch: Any, starter_dir: Path) -> str:
    """Of a server with a cache in a store, which is not there."""
    with launch(starter_dir, cache=CacheSettings(cache="redis://127.0.0.1:1")) as running:
        httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"})
        return httpx.get(f"{running.url}/metrics").text


def series_of(exported: str) -> set[str]:
    """Names of all series of a server, those without a sample yet too."""
    names = set()
    for family in text_string_to_metric_families(exported):
        if family.type == "histogram":
            names |= {family.name + ending for ending in HISTOGRAM_SERIES}
        else:
            names.add(f"{family.name}_total" if family.type == "counter" else family.name)
    return names


def asked_for(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:farthing|process)_\w+", expression))


def test_the_dashboard_asks_for_metrics_that_exist(exported: str) -> None:
    text = (DEPLOY / "grafana/farthing.json").read_text()
    panels = json.loads(text)["panels"]
    asked = {name for panel in panels for target in panel.get("targets", ()) for name in asked_for(target["expr"])}
    assert len(asked) > 20
    assert asked <= series_of(exported)


def test_the_alerts_ask_for_metrics_that_exist(exported: str) -> None:
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    asked = {name for group in groups for rule in group["rules"] for name in asked_for(rule["expr"])}
    assert len(asked) >= 6
    assert asked <= series_of(exported)


def test_a_model_behind_a_cache_tells_its_plan_too(exported: str) -> None:
    assert 'farthing_planned_bytes{entry="weights",' in exported


def test_every_metric_is_documented_and_every_documented_one_is_told(exported: str) -> None:
    families = {family.name: family for family in text_string_to_metric_families(exported)}
    told = {name for name in families if name.startswith("farthing_") and not name.endswith("_created")}
    documented = {metric.name.removesuffix("_total"): metric for metric in catalogue()}
    assert told == set(documented)
    for name, metric in documented.items():
        assert families[name].type == metric.kind
        for sample in families[name].samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)


def test_promtool_finds_nothing_to_say_about_the_metrics(exported: str) -> None:
    promtool = shutil.which("promtool") or pytest.skip("promtool is not installed")
    done = subprocess.run([promtool, "check", "metrics"], input=exported, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_stages_of_requests_are_timed(exported: str) -> None:
    counts = {
        sample.labels["stage"]
        for family in text_string_to_metric_families(exported)
        for sample in family.samples
        if sample.name == "farthing_request_stage_seconds_count" and sample.value
    }
    assert counts == {"read", "tokenise", "queue", "compute", "write"}
