"""A real, tiny model for the jobs, and a way to run one in a folder of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from farthing import Embedder
from farthing.core.settings import ServingSettings
from farthing.serving.request import EmbedRequest
from farthing.toolkit.bulk.job import BulkJob, run_job

RunJob = Callable[..., Path]
TEXTS = [f"text number {number}" for number in range(23)]


@pytest.fixture(scope="session")
def embedder(tiny_qwen3: Path) -> Iterator[Embedder]:
    with Embedder(str(tiny_qwen3), context_length=64) as opened:
        yield opened


@pytest.fixture(scope="session")
def run(embedder: Embedder) -> RunJob:
    """`run(input, output, **fields of the job)` -> the output. `opened` takes the place of the shared model."""
    shared = nullcontext(embedder)

    def run_with(
        input: Path, output: Path, *, opened: AbstractContextManager[Embedder] = shared, **changes: object
    ) -> Path:
        job = BulkJob(
            input=str(input),
            output=output,
            request=EmbedRequest(()),
            serving=ServingSettings(),
            say=lambda sentence: print(sentence, file=sys.stderr),
        )
        run_job(replace(job, **changes), lambda: opened)
        return output

    return run_with


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """JSON Lines of 23 rows with the fields `id` and `text` ("text number 0", ...)."""
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(TEXTS)))
    return path
