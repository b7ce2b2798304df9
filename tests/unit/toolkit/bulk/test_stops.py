"""Wherever a job is stopped, however its chunks are cut: in the end every row is there exactly once."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from farthing import Embedder
from tiers import examples

RunJob = Callable[..., Path]
MOST_ROWS = 30
TEXTS = [f"text number {number}" for number in range(MOST_ROWS)]


class Stopped(BaseException):
    """Stands for the end of the process."""


def stop_at(step: int) -> AbstractContextManager[object]:
    """End the job at its `step`th sync: each write has one before the rename, and one after it."""
    steps = iter(range(1, step))

    def sync_or_stop(descriptor: int) -> None:
        if next(steps, None) is None:
            raise Stopped

    return mock.patch("farthing.core.files.os.fsync", sync_or_stop)


@pytest.fixture(scope="module")
def vectors(embedder: Embedder) -> np.ndarray:
    return embedder.encode(TEXTS)


@pytest.mark.parametrize("suffix", ["npy", "jsonl", "parquet"])
@settings(deadline=None, max_examples=examples(25))
@given(
    num_rows=st.integers(1, MOST_ROWS),
    runs=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 25)), max_size=5),
    last_chunk_rows=st.integers(1, 12),
)
def test_every_row_is_there_once_wherever_the_job_was_stopped(
    suffix: str,
    num_rows: int,
    runs: list[tuple[int, int]],
    last_chunk_rows: int,
    run: RunJob,
    vectors: np.ndarray,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.jsonl", Path(folder) / f"out.{suffix}"
        lines = [json.dumps({"id": number, "text": TEXTS[number]}) for number in range(num_rows)]
        source.write_text("\n".join(lines))
        for chunk_rows, step in runs:
            if output.exists() and not output.with_name(output.name + ".partial").exists():
                break
            with stop_at(step):
                try:
                    run(source, output, chunk_rows=chunk_rows)
                except Stopped:
                    continue
        if not output.exists() or output.with_name(output.name + ".partial").exists():
            run(source, output, chunk_rows=last_chunk_rows)
        assert {path.name for path in Path(folder).iterdir()} == {source.name, output.name}
        check(output, num_rows, vectors)


def check(output: Path, num_rows: int, vectors: np.ndarray) -> None:
    if output.suffix == ".npy":
        found = np.load(output)
    else:
        is_parquet = output.suffix == ".parquet"
        rows = (
            parquet.read_table(output).to_pylist()
            if is_parquet
            else list(map(json.loads, output.read_text().splitlines()))
        )
        assert [(row["id"], row["text"]) for row in rows] == list(enumerate(TEXTS[:num_rows]))
        found = np.array([row["embedding"] for row in rows])
    np.testing.assert_allclose(found, vectors[:num_rows], atol=1e-5)
