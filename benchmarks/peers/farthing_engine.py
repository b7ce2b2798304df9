"""Ours: packed batches, nothing exported."""

from __future__ import annotations

from farthing.core.settings import EngineSettings
from farthing.engine.load import load_model
from farthing.engine.runner import Runner
from peers.task import Embed, Task


def load(task: Task) -> Embed:
    settings = EngineSettings(format=task.engine.removeprefix("farthing-"), num_threads=task.num_threads)
    runner = Runner(load_model(task.checkpoint, settings))
    return lambda texts: runner.run(texts).rows
