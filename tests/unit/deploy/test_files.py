"""deploy/: what can be said of the files without running what they are for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from farthing.core.resolve import ENV_PREFIX, describe
from farthing.core.settings import GROUPS, ServerSettings

DEPLOY = Path(__file__).parents[3] / "deploy"
BIN = Path(sys.executable).parent
# What the server takes to answer all that it has accepted, and to close the model.
DRAIN_S, CLOSE_S = 25, 5
IN_DASHBOARD = {"$__rate_interval": "5m", "$instance": ".*", "$model": ".*"}


def run(*command: str | Path, folder: Path = DEPLOY) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def tool(name: str) -> str:
    """Where a program of the system is; the test is skipped without."""
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


def seconds(span: str) -> int:
    return int(re.fullmatch(r"(\d+)s?", span).group(1))  # type: ignore[union-attr]


def deployment() -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes/farthing.yaml").read_text())
    return next(document for document in documents if document["kind"] == "Deployment")


def test_the_dockerfile_passes_hadolint() -> None:
    assert run(BIN / "hadolint", "docker/Dockerfile") == ""


def test_the_docker_build_sees_all_that_it_copies() -> None:
    # Each is let through by the ignore file, and exists.
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "docker/Dockerfile").read_text(), re.MULTILINE)
    let_through = set(re.findall(r"^!(.+)$", (DEPLOY / "docker/Dockerfile.dockerignore").read_text(), re.MULTILINE))
    names = {name for line in copied for name in line.split()}
    assert names == let_through
    assert all((DEPLOY.parent / name).exists() for name in names)


def test_the_compose_file_is_one() -> None:
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_the_kubernetes_manifests_are_valid() -> None:
    output = run(BIN / "kubernetes-validate", "--strict", "kubernetes/farthing.yaml")
    assert output.count("passed") == 3


def test_a_pod_gets_no_variables_that_look_like_settings_from_its_own_service() -> None:
    assert deployment()["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_nobody_kills_a_server_that_drains() -> None:
    needed = DRAIN_S + CLOSE_S
    pod = deployment()["spec"]["template"]["spec"]
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pause + needed
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert seconds(compose["services"]["farthing"]["stop_grace_period"]) > needed
    unit = (DEPLOY / "systemd/farthing.service").read_text()
    assert seconds(re.findall(r"^TimeoutStopSec=(.+)$", unit, re.MULTILINE)[0]) > needed


def test_the_service_unit_is_valid(tmp_path: Path) -> None:
    unit = (DEPLOY / "systemd/farthing.service").read_text()
    assert "/opt/farthing/bin/farthing" in unit
    copy = tmp_path / "farthing.service"
    copy.write_text(unit.replace("/opt/farthing/bin/farthing", shutil.which("true") or "/bin/true"))
    assert run(tool("systemd-analyze"), "verify", copy) == ""


def test_prometheus_takes_the_alerts_and_raises_them_when_it_should() -> None:
    promtool, folder = tool("promtool"), DEPLOY / "prometheus"
    run(promtool, "check", "config", "prometheus.yml", folder=folder)
    run(promtool, "test", "rules", "alerts_test.yml", folder=folder)


def test_prometheus_can_read_the_dashboards_questions(tmp_path: Path) -> None:
    panels = json.loads((DEPLOY / "grafana/farthing.json").read_text())["panels"]
    rules = []
    for expression in (target["expr"] for panel in panels for target in panel.get("targets", ())):
        for variable, value in IN_DASHBOARD.items():
            expression = expression.replace(variable, value)
        rules.append({"record": f"question:{len(rules)}", "expr": expression})
    assert len(rules) > 20
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(tool("promtool"), "check", "rules", tmp_path / "rules.yml")


def test_every_variable_in_the_files_is_a_setting() -> None:
    files = [file for file in DEPLOY.rglob("*") if file.is_file()]
    found = {name for file in files for name in re.findall(rf"\b{ENV_PREFIX}([A-Z_]+)\b", file.read_text())}
    known = {fact["name"].upper() for kind in GROUPS for fact in describe(kind)}
    assert {"HOST", "MEMORY"} <= found
    assert found - {"MODEL"} <= known  # FARTHING_MODEL is compose's own


def test_nginx_takes_bodies_as_large_as_the_server_does() -> None:
    (size,) = re.findall(r"client_max_body_size (\d+)m;", (DEPLOY / "nginx/farthing.conf").read_text())
    assert int(size) * 2**20 == ServerSettings().max_body_bytes
