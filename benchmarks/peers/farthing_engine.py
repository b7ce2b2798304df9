"""Ours: packed batches, nothing exported."""

from __future__ import annotations

from functools import partial

import numpy as np

from farthing.cli.bench.checks import require_all_computed
from farthing.core.settings import EngineSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from farthing.quant.native import team
from farthing.quant.native.binding import NativeKernels
from peers.task import Embed, Task, Texts


def load(task: Task) -> Embed:
    if task.isa:
        team.NativeKernels = partial(NativeKernels, isa=task.isa)  # type: ignore[attr-defined,assignment]
    settings = EngineSettings(format=task.engine.removeprefix("farthing-"), num_threads=task.num_threads)
    runner = Runner(load_model(task.checkpoint, settings))

    def embed(texts: Texts) -> np.ndarray:
        output = runner.run(texts)
        require_all_computed(sum(output.computed), sum(map(len, texts)), task.engine)
        return output.rows

    return embed
