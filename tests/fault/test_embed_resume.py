"""`farthing embed` in a process of its own, killed without warning and started again until it ends."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from farthing import Embedder

NUM_ROWS = 1000
KILLS = 2
TEXTS = [f"text {number}" for number in range(NUM_ROWS)]


@pytest.fixture(scope="module")
def vectors(tiny_qwen3: Path) -> np.ndarray:
    with Embedder(str(tiny_qwen3)) as embedder:
        return embedder.encode(TEXTS)


def start(model: Path, source: Path, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "farthing", "embed", str(model), str(source), "-o", str(output)]
    return subprocess.Popen([*command, "--chunk-rows", "8"], stderr=subprocess.PIPE)


def kill_when_it_is_at_work(process: subprocess.Popen[bytes], folder: Path, after_s: float) -> None:
    """SIGKILL, `after_s` seconds after the process committed its first chunk."""
    known = num_committed(folder)
    while num_committed(folder) == known and process.poll() is None:
        time.sleep(0.002)
    time.sleep(after_s)
    process.kill()
    process.communicate()


def num_committed(folder: Path) -> int:
    return len(list(folder.glob("*.rows")))


# Where a job may be stopped in each of the formats is tried in one process (tests/unit/toolkit/bulk/test_stops.py).
@pytest.mark.parametrize(
    "suffix", ["jsonl", *(pytest.param(name, marks=pytest.mark.slow) for name in ("npy", "parquet"))]
)
def test_a_job_that_is_killed_again_and_again_ends_with_every_row_once(
    suffix: str, tiny_qwen3: Path, vectors: np.ndarray, tmp_path: Path
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / f"out.{suffix}"
    partial = tmp_path / f"out.{suffix}.partial"
    source.write_text("".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(TEXTS)))
    chance = random.Random(suffix)
    committed = [0]
    for _ in range(KILLS):
        kill_when_it_is_at_work(start(tiny_qwen3, source, output), partial, after_s=chance.uniform(0, 0.05))
        committed.append(num_committed(partial))
        assert not output.exists()
    assert committed == sorted(set(committed)), "each run went on where the one before was killed"
    last = start(tiny_qwen3, source, output)
    errors = last.communicate()[1].decode()
    assert last.returncode == 0, errors
    assert f"Going on after {8 * committed[-1]:,} rows." in errors
    assert {path.name for path in tmp_path.iterdir()} == {source.name, output.name}
    check(output, vectors)


def check(output: Path, vectors: np.ndarray) -> None:
    if output.suffix == ".npy":
        found = np.load(output)
    else:
        is_parquet = output.suffix == ".parquet"
        lines = [] if is_parquet else output.read_text().splitlines()
        rows = parquet.read_table(output).to_pylist() if is_parquet else list(map(json.loads, lines))
        assert [(row["id"], row["text"]) for row in rows] == list(enumerate(TEXTS))
        found = np.array([row["embedding"] for row in rows])
    np.testing.assert_allclose(found, vectors, atol=1e-5)
