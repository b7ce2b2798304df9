"""Our CPU int8, fp32 and bf16 against transformers, ONNX Runtime int8 and OpenVINO int8.

    pip install -r benchmarks/requirements-peers.txt
    python benchmarks/cpu_peers.py [--model qwen3-0.6b|minilm|e5|DIR] [--rounds 5] [--workloads mixed 1x128]
        [--engines farthing-int8 openvino] [--isa avx2] [--layers 4] [--threads 2] [--cache DIR]

All get the same token ids and the same number of threads, each in a process of its own, in turn (A B C A B C ...), so
that a machine whose speed drifts slows all alike; medians count. Each round has ids of its own: an engine that kept
beginnings that came before would be timed for what it did not compute, and for ours that is an error. While one
computes, the others must sleep: a process that does not is an error. Every engine's vectors are compared with those of
transformers in fp32 first; a cosine under 0.97 is an error. Nothing is tokenised or served: only padding, the forward
pass and pooling are timed.

Each engine computes as suits it best, as far as measured (see the docstrings in benchmarks/peers): all but ours take
texts sorted by length in batches with little padding. transformers does so in the fastest of the settings that are
tried on rounds of their own before (fp32 and bf16, batches of 512, 2,048 and 8,192 tokens, padding included: what
sentence-transformers can be told, which sorts, too), and also as its documentation shows, in batches of 8 as texts
come. Which setting won is in the label; where there is none, it was those batches of 8. "MiB" is what is resident in
the engine's process after the workload, Python and mapped files included.
With --isa avx2 no engine uses later instructions, as on a CPU of ten years ago; ONNX Runtime has no such switch, and is
left out then. "Elsewhere" is how many cores other programs kept busy in the worst of an engine's runs: near 0 where it
is quiet.

The Qwen3 shape has synthetic weights and is written to the cache once, as are the other engines' models. "minilm" and
"e5" are real, and expected in the folder that FARTHING_TEST_MODELS names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from farthing.engine.plan.device import device_facts
from peers.batching import Batches, Cut, by_length, in_order, packed
from peers.engines import ENGINES, check_installed
from peers.models import Model, find_model
from peers.process import LIMITS, EngineProcess, Run, export, run_alone
from peers.task import Task
from report import facts, fastest, json_line, table

REFERENCE = "transformers"
NOT_LIMITED = "onnxruntime"
LEAST_COSINE = 0.97
# The long text takes minutes: only these compute it unless others are asked for, and the first run is the measured one.
LONG, LONG_ENGINES = "1x8192", ("farthing-int8", REFERENCE)
WORKLOADS = {
    "8x128": [128] * 8,
    "mixed": [int(length) for length in np.random.default_rng(0).permutation(np.linspace(16, 512, 64))],
    "1x128": [128],
    LONG: [8192],
}
HEADER = ["workload", "engine", "median s", "tokens/s", "times farthing int8", "least cosine", "MiB", "elsewhere"]
Texts = list[list[int]]


@dataclass(frozen=True)
class Contender:
    engine: str
    cut: Cut


def contenders(model: Model) -> dict[str, Contender]:
    ours = packed(model.max_batch_tokens)
    return {
        "farthing int8": Contender("farthing-int8", ours),
        "farthing fp32": Contender("farthing-fp32", ours),
        "farthing bf16": Contender("farthing-bf16", ours),
        "ONNX Runtime int8": Contender("onnxruntime", by_length(2048)),
        "OpenVINO int8": Contender("openvino", by_length(2048)),
        "transformers fp32": Contender(REFERENCE, in_order(8)),
    }


# Settings of transformers of which the fastest is measured.
BEST_OF = {
    f"transformers {dtype}, sorted, {budget}": Contender(engine, by_length(budget))
    for dtype, engine in (("fp32", REFERENCE), ("bf16", f"{REFERENCE}-bf16"))
    for budget in (512, 2048, 8192)
}


@dataclass(frozen=True)
class Job:
    """A contender's share of a workload: who computes it, in which batches."""

    engine: str
    batches: Batches


@dataclass(frozen=True)
class Result:
    runs: list[Run]
    cosine: float

    @property
    def seconds(self) -> list[float]:
        return [run.answer.seconds for run in self.runs]

    @property
    def resident_mib(self) -> int:
        return self.runs[-1].answer.resident_bytes >> 20

    @property
    def cores_elsewhere(self) -> float:
        """The most of any run."""
        return max(run.cores_elsewhere for run in self.runs)


class Comparison:
    """One workload through some engines, while all processes are there."""

    def __init__(
        self, processes: Mapping[str, EngineProcess], everyone: Mapping[str, Contender], fresh: Callable[[], Texts]
    ) -> None:
        """`fresh` gives texts of the same lengths, in the same order, each time others."""
        self._processes, self._fresh, self._texts = processes, fresh, fresh()
        self._jobs: dict[str, Job] = {}
        for label, contender in everyone.items():
            self._add(label, contender)

    def _add(self, label: str, contender: Contender) -> None:
        job = Job(contender.engine, contender.cut([len(text) for text in self._texts]))
        if job not in self._jobs.values():  # two ways to batch may come to the same
            self._jobs[label] = job

    def add_fastest(self, settings: Mapping[str, Contender]) -> None:
        """The one of these settings that is fastest on texts of its own, unless it is there already."""
        before, self._jobs = dict(self._jobs), {}
        for label, contender in settings.items():
            self._add(label, contender)
        best = fastest(self._jobs, [lambda label: self._run(label).answer.seconds] * 2)
        is_there = self._jobs[best] in before.values()
        self._jobs = before if is_there else {**before, best: self._jobs[best]}

    def measure(self, engines: Sequence[str], rounds: int) -> dict[str, Result]:
        """By label; with no rounds, and for a reference that was not asked for, the run that is compared counts.

        Raises:
            SystemExit: an engine's vectors are not the reference's.
        """
        timed = [label for label, job in self._jobs.items() if job.engine in engines]
        reference = next(label for label, job in self._jobs.items() if job.engine == REFERENCE)
        first = {label: self._run(label) for label in dict.fromkeys([reference, *timed])}  # also warms up
        vectors = {label: self._in_order(label, run.answer.vectors) for label, run in first.items()}
        cosines = {label: least_cosine(rows, vectors[reference]) for label, rows in vectors.items()}
        wrong = {label: round(value, 4) for label, value in cosines.items() if not value >= LEAST_COSINE}
        if wrong:
            raise SystemExit(f"Least cosine with {reference} under {LEAST_COSINE}: {wrong}")
        runs = [self._round(timed) for _ in range(rounds)] or [first]
        results = {label: Result([run[label] for run in runs], cosines[label]) for label in timed}
        return results if reference in timed else {**results, reference: Result([first[reference]], 1.0)}

    def _round(self, labels: Sequence[str]) -> dict[str, Run]:
        self._texts = self._fresh()
        return {label: self._run(label) for label in labels}

    def _run(self, label: str) -> Run:
        job = self._jobs[label]
        batches = [[self._texts[index] for index in batch] for batch in job.batches]
        run = run_alone(list(self._processes.values()), self._processes[job.engine], batches)
        print(f"{label}: {run.answer.seconds:.3f} s, {run.cores_elsewhere:.2f} cores busy elsewhere", file=sys.stderr)
        return run

    def _in_order(self, label: str, vectors: np.ndarray) -> np.ndarray:
        rows = np.empty_like(vectors)
        rows[[index for batch in self._jobs[label].batches for index in batch]] = vectors
        return rows


def fresh_texts(rng: np.random.Generator, lengths: Sequence[int], vocab: int) -> Texts:
    return [rng.integers(1000, vocab, size=length).tolist() for length in lengths]


def least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def rows_of(workload: str, results: Mapping[str, Result]) -> list[list[str]]:
    ours = results.get("farthing int8")
    rows = []
    for label, result in results.items():
        seconds = median(result.seconds)
        rows.append(
            [
                workload,
                label,
                f"{seconds:.3f}",
                f"{sum(WORKLOADS[workload]) / seconds:.0f}",
                f"{seconds / median(ours.seconds):.2f}" if ours else "",
                f"{result.cosine:.4f}",
                f"{result.resident_mib}",
                f"{result.cores_elsewhere:.2f}",
            ]
        )
    return rows


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="qwen3-0.6b", help="qwen3-0.6b, minilm, e5 or a folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), help="default: all")
    parser.add_argument("--isa", choices=list(LIMITS), help="no later instructions than these")
    parser.add_argument("--layers", type=int, default=28, help="of the synthetic model")
    parser.add_argument("--threads", type=int, default=device_facts("cpu").num_threads)
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/farthing/benchmarks"))
    return parser.parse_args()


def main() -> None:
    options = parsed()
    torch.set_num_threads(options.threads)
    engines = options.engines or [engine for engine in ENGINES if not options.isa or engine != NOT_LIMITED]
    if options.isa and NOT_LIMITED in engines:
        raise SystemExit(f"{NOT_LIMITED} cannot be held to {options.isa}. Leave it out with --engines.")
    needed = list(dict.fromkeys([*engines, REFERENCE]))
    packages = check_installed(needed)
    model = find_model(options.model, options.layers, options.cache.expanduser().resolve())
    tasks = []
    for engine in needed:
        exported = ENGINES[engine].file(model.cache)
        tasks.append(Task(engine, model.checkpoint, model.pooling, exported, options.threads, options.isa))
        export(tasks[-1])
    processes = {task.engine: EngineProcess("serve", task) for task in tasks}
    everyone = {label: item for label, item in contenders(model).items() if item.engine in needed}
    rng = np.random.default_rng(1)
    lines, seconds, cosines, mib, elsewhere = [], {}, {}, {}, {}
    for workload in options.workloads:
        lengths = WORKLOADS[workload]
        if max(lengths) > model.max_tokens:
            continue
        few = workload == LONG and not options.engines
        rounds = 0 if workload == LONG else options.rounds
        comparison = Comparison(processes, everyone, partial(fresh_texts, rng, lengths, model.vocab))
        if REFERENCE in engines and workload != LONG:
            comparison.add_fastest({label: item for label, item in BEST_OF.items() if item.engine in engines})
        results = comparison.measure(LONG_ENGINES if few else engines, rounds)
        lines += rows_of(workload, results)
        for label, result in results.items():
            key = f"{workload} / {label}"
            seconds[key] = result.seconds
            cosines[key], mib[key] = round(result.cosine, 5), result.resident_mib
            elsewhere[key] = round(result.cores_elsewhere, 2)
    for process in processes.values():
        process.close()
    print(table(HEADER, lines))
    more = {"benchmark": "cpu_peers", "model": options.model, "isa": options.isa, "layers": model.num_layers}
    print(json_line(facts(packages), seconds, **more, least_cosine=cosines, resident_mib=mib, elsewhere=elsewhere))


if __name__ == "__main__":
    main()
