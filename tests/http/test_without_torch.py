"""Everything that users of a CPU do, where torch and transformers cannot be imported.

With FARTHING_TEST_PYTHON, the Python of another environment is used: `make test-wheel` makes one from the wheel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from farthing import Embedder

OTHER = os.environ.get("FARTHING_TEST_PYTHON")
REFUSED = """
import sys
from importlib.machinery import PathFinder
find, absent = PathFinder.find_spec, ("torch", "transformers", "sentence_transformers")
PathFinder.find_spec = lambda name, *where: None if name in absent else find(name, *where)
"""
COMMAND = (
    [OTHER, "-m", "farthing"]
    if OTHER
    else [sys.executable, "-c", REFUSED + "from farthing.cli.main import main; main()"]
)
TEXTS = ["a wren sings in the garden", "the parcel was lost", "where is my parcel?", "a wren sings in the garden"]

Run = Callable[..., str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts in the forms that the commands read."""
    folder = tmp_path_factory.mktemp("without_torch")
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    (folder / "wren.md").write_text("# Birds\n\nA wren sings in the garden.\n")
    pairs = [("a bird", "a small bird", 4.5), ("a bird", "the train", 0.0), ("a coin", "a penny", 3)]
    (folder / "alike").mkdir()
    lines = [json.dumps({"s1": one, "s2": other, "score": score}) for one, other, score in pairs]
    (folder / "alike" / "test.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def run(place: Path) -> Run:
    """What a command prints; fails the test where it fails."""

    def run(*args: object) -> str:
        command = [*COMMAND, *map(str, args)]
        done = subprocess.run(
            command, cwd=place, env=environment(), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def environment() -> dict[str, str]:
    """Without what is meant for the tests, and the sources of this repository where another environment has its own."""
    left_out = ("FARTHING_TEST_", "PYTHONPATH") if OTHER else ("FARTHING_TEST_",)
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def test_torch_cannot_be_imported_there() -> None:
    program = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('torch', 'transformers'))))"
    command = [OTHER, "-c", program] if OTHER else [sys.executable, "-c", REFUSED + program]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("weight_format", ["auto", "fp32", "bf16", "int8", "nf4"])
def test_texts_are_embedded(run: Run, place: Path, starter_dir: Path, weight_format: str) -> None:
    out = f"{weight_format}.npy"
    run("embed", starter_dir, "texts.jsonl", "-o", out, "--format", weight_format)
    with Embedder(str(starter_dir), format="fp32") as exact:
        cosines = (np.load(place / out) * exact.encode(TEXTS)).sum(1)
    assert cosines.min() > {"auto": 0.999, "int8": 0.999, "nf4": 0.97}.get(weight_format, 0.99999)


def test_models_are_made_planned_measured_and_quantised(run: Run, place: Path) -> None:
    run("synth", "qwen3-tiny", "tiny")
    assert "is chosen" in run("plan", "tiny")
    assert "tokens/s" in run("bench", "tiny", "--rounds", "1", "--workload", "latency")
    for weight_format in ("int8", "nf4"):  # the second one is calibrated
        run("quantize", "tiny", f"tiny-{weight_format}", "--format", weight_format)
        assert json.loads((place / f"tiny-{weight_format}" / "farthing.json").read_text())["format"] == weight_format
        run("embed", f"tiny-{weight_format}", "texts.jsonl", "-o", f"tiny-{weight_format}.npy")


def test_texts_are_ranked_searched_clustered_and_evaluated(
    run: Run, place: Path, starter_dir: Path, tiny_reranker: Path
) -> None:
    assert len(run("rerank", tiny_reranker, "texts.txt", "--query", "a bird", "--json").splitlines()) == len(TEXTS)
    run("index", "create", "birds", "--model", starter_dir)
    run("index", "add", "birds", "wren.md")
    assert "wren" in run("search", "birds", "what sings?")
    assert json.loads(run("dedup", "texts.jsonl", "--model", starter_dir, "--json"))
    run("cluster", "texts.jsonl", "--model", starter_dir, "-o", "clusters")
    assert "alike" in run("eval", starter_dir, ".", "--sets", "alike")


def test_a_server_answers(place: Path, starter_dir: Path) -> None:
    with served(starter_dir) as url, httpx.Client(base_url=url, timeout=60) as client:
        answer = client.post("/v1/embeddings", json={"input": TEXTS}).json()
    with Embedder(str(starter_dir), format="fp32") as exact:
        vectors = np.array([item["embedding"] for item in answer["data"]])
        assert (vectors * exact.encode(TEXTS)).sum(1).min() > 0.999


@contextmanager
def served(model: Path) -> Iterator[str]:
    command = [*COMMAND, "serve", str(model), "--port", "0"]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "env": environment()}
    with subprocess.Popen(command, **options) as process:
        try:
            assert process.stdout is not None
            lines = (line.strip() for line in process.stdout)
            url = next(line for line in lines if line.startswith("Listening on ")).split()[2].rstrip(",")
            next(line for line in lines if line.startswith("try "))
            yield url
        finally:
            process.kill()
