"""`farthing models`: what is on this machine, and taking it away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from farthing.cli.main import cli
from farthing.core.errors import ModelNotFoundError
from farthing.sources.wheel import STARTER_WHEEL


def models(*args: object, input: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["models", *map(str, args)], input=input)


@pytest.fixture
def cache(tmp_path: Path, tiny_qwen3: Path) -> Path:
    """As the hub's library, the package index's download and `farthing bench` leave it."""
    root = tmp_path / "cache"
    repo = root / "models--Qwen--Tiny"
    snapshot = repo / "snapshots" / ("a" * 40)
    blobs = repo / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    for file in ("config.json", "model.safetensors"):
        shutil.copy(tiny_qwen3 / file, blobs / file)
        (snapshot / file).symlink_to(f"../../blobs/{file}")
    (root / "models--other--no-weights" / "snapshots" / ("b" * 40)).mkdir(parents=True)
    shutil.copytree(tiny_qwen3, root / STARTER_WHEEL.copy_name)
    shutil.copytree(tiny_qwen3, root / "synthetic" / "qwen3-tiny")
    return root


def test_what_is_here_is_listed_with_its_size(cache: Path) -> None:
    shown = models("list", "--cache-dir", cache)
    assert shown.exception is None, shown.output
    names = [line.split()[0] for line in shown.stdout.splitlines() if not line.startswith(" ")]
    assert names == ["Qwen/Tiny", "starter", "synthetic/qwen3-tiny"]
    found = [json.loads(line) for line in models("list", "--cache-dir", cache, "--json").stdout.splitlines()]
    assert found[0]["path"] == str(cache / "models--Qwen--Tiny")
    weights = (cache / STARTER_WHEEL.copy_name / "model.safetensors").stat().st_size
    assert all(model["bytes"] > weights for model in found)


@pytest.mark.parametrize("name", ["Qwen/Tiny", "starter", "synthetic/qwen3-tiny"])
def test_a_model_is_removed_when_it_is_meant_and_no_other(name: str, cache: Path) -> None:
    before = {path.parent for path in cache.rglob("config.json")}
    assert models("remove", name, "--cache-dir", cache, input="n\n").exit_code == 1
    assert {path.parent for path in cache.rglob("config.json")} == before
    done = models("remove", name, "--cache-dir", cache, "--yes")
    assert done.exception is None, done.output
    left = models("list", "--cache-dir", cache).stdout
    assert name not in left.split()
    assert len(left.splitlines()) == 4


def test_a_name_that_is_not_here_is_told_what_is(cache: Path) -> None:
    error = models("remove", "Qwen/Tny", "--cache-dir", cache, "--yes").exception
    assert isinstance(error, ModelNotFoundError)
    assert str(error).endswith("Here are: Qwen/Tiny, starter, synthetic/qwen3-tiny.")


def test_an_empty_machine_is_told_how_to_get_one(tmp_path: Path) -> None:
    assert models("list", "--cache-dir", tmp_path / "none").stdout == (
        "No model is here yet. Download one: farthing pull starter\n"
    )
