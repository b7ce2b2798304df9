"""What a new family, weight format, kind of database and document reader take: a file and a row each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file
from toy_family import ToyFamily, toy_vector, write_toy
from toy_format import ToyFormat
from toy_reader import read_toy
from toy_store import PREFIX, toy_kind

from farthing import Embedder
from farthing.cli.main import cli
from farthing.core.settings import EngineSettings, ServerSettings, ServingSettings, SourceSettings
from farthing.engine.weights.load import load_model
from farthing.models.families import FAMILIES
from farthing.quant.formats import FORMATS
from farthing.toolkit.documents.reading.file import READERS
from farthing.toolkit.stores.database import DATABASES

TEXTS = ["a wren sings", "the parcel was lost", "x", "where is my parcel, which I sent in March? " * 2]
Run = Callable[..., str]


@pytest.fixture
def run() -> Run:
    """A command's output; fails the test where it fails."""

    def run(*args: str) -> str:
        result = CliRunner().invoke(cli, list(args), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of the toy family, which is a row of the table."""
    monkeypatch.setitem(FAMILIES, "toy", ToyFamily())
    return write_toy(tmp_path / "toy")


@pytest.fixture
def toy_format(monkeypatch: pytest.MonkeyPatch) -> str:
    """The toy format, as a row of the table and a name among the settings' choices."""
    form = ToyFormat()
    monkeypatch.setitem(FORMATS, form.name, form)
    (item,) = (item for item in fields(EngineSettings) if item.name == "format")
    choices = (*item.metadata["choices"], form.name)
    monkeypatch.setattr(item, "metadata", MappingProxyType({**item.metadata, "choices": choices}))
    return form.name


def test_a_family_is_computed_as_it_says(toy: Path) -> None:
    weights = load_file(toy / "model.safetensors")
    with Embedder(str(toy), format="fp32") as embedder:
        vectors = embedder.encode(TEXTS)
        ids = [embedder.tokenizer.encode_prefix(text) for text in TEXTS]
    expected = np.stack([toy_vector(weights, text) for text in ids])
    np.testing.assert_allclose(vectors, expected, atol=2e-6)


def test_a_family_has_native_kernels_where_its_layers_fit_them(toy: Path) -> None:
    with Embedder(str(toy), format="fp32") as exact, Embedder(str(toy), format="int8") as rounded:
        assert rounded.plan.is_native
        cosines = (exact.encode(TEXTS) * rounded.encode(TEXTS)).sum(1)
    assert cosines.min() > 0.995


def test_a_family_is_planned_quantised_benched_and_served(toy: Path, tmp_path: Path, run: Run, launch: Any) -> None:
    assert "3 layers of width 128" in run("plan", str(toy), "--memory", "2GB")
    run("quantize", str(toy), str(tmp_path / "int8"), "--format", "int8")
    assert "tokens/s" in run("bench", str(tmp_path / "int8"), "--rounds", "1", "--workload", "latency")
    with Embedder(str(toy), format="int8") as embedder, launch(tmp_path / "int8", weight_format="auto") as running:
        body = {"input": TEXTS, "model": "test-model"}
        answer = httpx.post(f"{running.url}/v1/embeddings", json=body, timeout=60).json()
        served = np.array([item["embedding"] for item in answer["data"]])
        np.testing.assert_allclose(served, embedder.encode(TEXTS), atol=1e-3)


def test_a_format_is_planned_quantised_benched_and_served(
    toy_format: str, tiny_qwen3: Path, tmp_path: Path, run: Run, launch_load: Any
) -> None:
    engine = EngineSettings(format=toy_format)
    assert load_model(tiny_qwen3, engine).plan.format.name == toy_format
    out = tmp_path / "toy"
    assert "toy" in run("plan", str(tiny_qwen3), "--format", toy_format)
    run("quantize", str(tiny_qwen3), str(out), "--format", toy_format)
    assert json.loads((out / "farthing.json").read_text())["format"] == toy_format
    assert "tokens/s" in run("bench", str(out), "--rounds", "1", "--workload", "latency")

    def load() -> Embedder:
        return Embedder.from_settings(str(out), SourceSettings(), EngineSettings(), ServingSettings())

    with Embedder(str(tiny_qwen3), format="fp32") as exact, launch_load(load) as running:
        body = {"input": TEXTS, "model": "test-model"}
        answer = httpx.post(f"{running.url}/v1/embeddings", json=body, timeout=60).json()
        served = np.array([item["embedding"] for item in answer["data"]])
        assert (served * exact.encode(TEXTS)).sum(1).min() > 0.9999


def test_a_kind_of_database_has_all_that_indexes_have(
    monkeypatch: pytest.MonkeyPatch, starter_dir: Path, launch: Any, tmp_path: Path, run: Run
) -> None:
    monkeypatch.setitem(DATABASES, PREFIX, toy_kind)
    monkeypatch.setattr("farthing.toolkit.stores.database.DATABASES", {PREFIX: toy_kind, **DATABASES})
    (tmp_path / "wren.md").write_text("# Birds\n\nA wren sings in the garden.\n")
    run("index", "create", f"{PREFIX}shelf/birds", "--model", str(starter_dir))
    run("index", "add", f"{PREFIX}shelf/birds", str(tmp_path / "wren.md"))
    assert "# Birds A wren *sings* in the garden." in run("search", f"{PREFIX}shelf/birds", "what sings?")
    with (
        launch(starter_dir, server=ServerSettings(index_folder=f"{PREFIX}shelf")) as running,
        httpx.Client(base_url=f"{running.url}/v1/indexes", timeout=60) as client,
    ):
        assert [card["name"] for card in client.get("").json()["data"]] == ["birds"]
        assert client.post("", json={"name": "help"}).status_code == 200
        document = {"id": "1", "text": "The parcel was lost.", "metadata": {"year": 2025}}
        assert client.post("/help/documents", json={"documents": [document]}).status_code == 200
        asked = {"query": "lost parcel", "where": ["year = 2025"]}
        found = client.post("/help/search", json=asked).json()
        assert [item["document"] for item in found["data"]] == ["1"]
        assert client.delete("/help").status_code == 200
        assert [card["name"] for card in client.get("").json()["data"]] == ["birds"]


def test_a_reader_is_asked_for_its_files(
    monkeypatch: pytest.MonkeyPatch, starter_dir: Path, tmp_path: Path, run: Run
) -> None:
    monkeypatch.setitem(READERS, "toy", read_toy)
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.toy").write_bytes(b"Of toys\0A toy duck squeaks.")
    (folder / "b.toy").write_bytes(b"no zero")
    index = str(tmp_path / "index")
    run("index", "create", index, "--model", str(starter_dir))
    said = run("index", "add", index, str(folder))
    assert "b.toy is no toy" in said
    found = json.loads(run("search", index, "which animal squeaks?", "--json").splitlines()[0])
    assert "A toy duck squeaks." in json.dumps(found)
