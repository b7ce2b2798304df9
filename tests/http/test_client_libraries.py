"""Libraries that call servers such as this one, in an environment of their own (`make clients`), on a real process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests/clients"
CLIENTS = Path(os.environ.get("FARTHING_TEST_CLIENTS", ROOT / ".clients"))
SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
PAIRS = {"query": "which bird?", "documents": ["a wren", "yes", "no bird at all"]}

has_python = pytest.mark.skipif(
    not (CLIENTS / "bin/python").is_file(), reason="the client libraries are not installed: make clients"
)
has_node = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node/node_modules/openai").is_dir(),
    reason="Node or its openai package is not installed: make clients",
)


@contextmanager
def serve(*args: str, **more: str) -> Iterator[str]:
    """URL of a `farthing serve` process that is ready."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")}
    command = [sys.executable, "-c", "from farthing.cli.main import main; main()", "serve", "--port", "0", *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**kept, **more}) as server:
        try:
            assert server.stdout is not None
            lines = iter(server.stdout.readline, "")
            url = next(line for line in lines if line.startswith("Listening on ")).split()[2].rstrip(",")
            assert any(line.startswith("Ready") for line in lines)
            yield url
        finally:
            server.kill()


@pytest.fixture(scope="module")
def url(starter_dir: Path, tiny_reranker: Path) -> Iterator[str]:
    names = ("--served-model-name", "minilm", "--reranker", str(tiny_reranker), "--served-reranker-name", "judge")
    with serve(str(starter_dir), *names) as running:
        yield running


def said_by(command: list[str | Path]) -> list[dict[str, Any]]:
    """The lines of a program, which has to end well."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"way"')]


def check(url: str, found: list[dict[str, Any]], ways: int) -> None:
    """Every vector and score is what the server gives over TEI's routes, which no library here goes by."""
    assert len(found) == ways, [said["way"] for said in found]
    vectors = np.array(httpx.post(f"{url}/embed", json={"inputs": SENTENCES}).json())
    for said in found:
        if "vectors" in said:
            assert np.array(said["vectors"]) == pytest.approx(vectors, abs=1e-5), said["way"]
    if any("ranking" in said for said in found):
        texts = {"query": PAIRS["query"], "texts": PAIRS["documents"]}
        ranked = httpx.post(f"{url}/rerank", json=texts).json()
        for said in found:
            if "ranking" in said:
                assert said["ranking"] == [entry["index"] for entry in ranked], said["way"]
                assert said["scores"] == pytest.approx([entry["score"] for entry in ranked], abs=1e-5), said["way"]


@has_python
@pytest.mark.parametrize(
    ("program", "ways"),
    [
        ("with_langchain.py", 3),
        ("with_llama_index.py", 1),
        ("with_haystack.py", 4),
        ("with_litellm.py", 16),
        ("with_litellm_proxy.py", 2),
    ],
)
def test_python_libraries_get_the_right_vectors_and_scores(url: str, program: str, ways: int) -> None:
    check(url, said_by([CLIENTS / "bin/python", PROGRAMS / program, url]), ways)


@has_node
def test_openais_client_for_javascript_does(url: str) -> None:
    check(url, said_by(["node", PROGRAMS / "with_node.mjs", url, CLIENTS / "node"]), 4)


@has_python
def test_langchains_token_ids_are_decoded_where_the_server_is_told_to(
    starter_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LangChain sends ids of cl100k_base unless it is told not to; LlamaIndex ships that vocabulary."""
    found = list((CLIENTS / "lib").glob("python*/site-packages/llama_index/core/_static/tiktoken_cache"))
    assert found
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(found[0]))
    names = ("--served-model-name", "minilm", "--token-ids", "decode")
    with serve(str(starter_dir), *names) as running:
        command = [CLIENTS / "bin/python", PROGRAMS / "with_langchain.py", running, "--token-ids"]
        check(running, said_by(command), 1)
