"""Prepared folders of one model in several formats, in turn in one process: tokens a second, milliseconds to unpack.

    farthing quantize MODEL int8 && farthing quantize MODEL nf4 --format nf4
    python benchmarks/format_speed.py int8 nf4 [--rounds 9] [--workloads 8x128 1x128]

In: folders that `farthing quantize` wrote. Out: a table; ratios are to the first folder, of medians. Nothing is
tokenised. Each round has token ids of its own, all of which must be computed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from farthing.cli.bench.checks import Meter, require_all_computed
from farthing.core.settings import EngineSettings
from farthing.engine.native_model import NativeModel
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from report import beside, facts, json_line, table


class Contender:
    def __init__(self, folder: Path) -> None:
        self._model = load_model(folder, EngineSettings(device="cpu", min_fidelity=0.0))
        self._runner = Runner(self._model)
        self.format = self._model.plan.format.name
        self.vocab = self._model.spec.vocab

    def seconds(self, texts: list[list[int]]) -> float:
        started = time.perf_counter()
        output = self._runner.run(texts)
        seconds = time.perf_counter() - started
        require_all_computed(sum(output.computed), sum(map(len, texts)), self.format)
        return seconds

    def unpack_seconds(self) -> float:
        """Of a layer, the mean of one pass."""
        started = time.perf_counter()
        assert isinstance(self._model.computing, NativeModel)
        for layer in self._model.computing.layers():
            for matrix in layer.matrices.values():
                matrix.block()
        return (time.perf_counter() - started) / self._model.spec.num_layers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--workloads", nargs="+", default=["8x128", "1x128", "1x1"], help="texts x tokens")
    arguments = parser.parse_args()
    contenders = [Contender(folder) for folder in arguments.folders]
    rng, lines, runs, meter = np.random.default_rng(0), [], {}, Meter.now()
    unpacking = [[contender.unpack_seconds() for contender in contenders] for _ in range(arguments.rounds)]
    for workload in arguments.workloads:
        num_texts, length = map(int, workload.split("x"))
        rounds = [
            rng.integers(0, contenders[0].vocab, (num_texts, length)).tolist() for _ in range(arguments.rounds + 1)
        ]
        for contender in contenders:
            contender.seconds(rounds[0])  # the first is slower
        seconds = [[contender.seconds(texts) for contender in contenders] for texts in rounds[1:]]
        medians = [statistics.median(column) for column in zip(*seconds, strict=True)]
        for index, contender in enumerate(contenders):
            unpack = statistics.median(column[index] for column in unpacking)
            figures = [f"{num_texts * length / medians[index]:.1f}", f"{medians[0] / medians[index]:.3f}"]
            lines.append([workload, contender.format, *figures, f"{1000 * unpack:.2f}"])
            runs[f"{workload} / {contender.format}"] = [row[index] for row in seconds]
    print(table(["workload", "format", "tokens/s", "of the first's", "ms to unpack a layer"], lines))
    print(json_line(facts(["numpy", "farthing"]), runs, benchmark="format_speed", **beside(meter)))


if __name__ == "__main__":
    main()
