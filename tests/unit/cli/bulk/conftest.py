"""A real, tiny model for the jobs, and a way to run one in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from farthing import Embedder
from farthing.cli.bulk.job import Job, run_job
from farthing.core.settings import ServingSettings
from farthing.serving.request import EmbedRequest

RunJob = Callable[..., Path]


@pytest.fixture(scope="session")
def embedder(tiny_qwen3: Path) -> Iterator[Embedder]:
    with Embedder(str(tiny_qwen3), context_length=64) as opened:
        yield opened


@pytest.fixture(scope="session")
def run(embedder: Embedder) -> RunJob:
    """`run(input, output, **fields of the job)` -> the output. `embedder` takes the place of the shared one."""
    shared = embedder

    def run_with(input: Path, output: Path, *, embedder: Embedder = shared, **changes: object) -> Path:
        job = Job(
            input=str(input),
            input_format=None,
            field=None,
            output=output,
            request=EmbedRequest(()),
            serving=ServingSettings(),
            chunk_rows=None,
            restart=False,
            overwrite=False,
            show_progress=False,
        )
        run_job(replace(job, **changes), lambda: nullcontext(embedder))
        return output

    return run_with
