"""Runs one benchmark, from a folder to results. It says on standard error what it will do, and how far it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from statistics import median

import click

from farthing.cli.bench.checks import share_of_peak
from farthing.cli.bench.measure import Beside, MeasuredEngine, Task, Texts, load_engine, make_batches, run_rounds
from farthing.cli.bench.model import BenchModel
from farthing.cli.bench.result import BenchResult, matrix_operations, resident_bytes, workload_result
from farthing.cli.bench.workloads import SHORTEST, Workload, make_texts
from farthing.core.progress import progress_bar
from farthing.core.settings import EngineSettings
from farthing.core.version import __version__, installed_version
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.plan.cpu import cpu_name
from farthing.engine.plan.plan import summary
from farthing.serving.queue.token_counter import counter_of
from farthing.serving.text.tokenizer import TextTokenizer


def run_bench(
    name: str, model: BenchModel, settings: EngineSettings, workloads: Mapping[str, Workload], rounds: int | None
) -> BenchResult:
    """Run the benchmark. `name` is the model as it was asked for; `rounds` replaces every workload's own number.

    Raises:
        ModelError: the folder holds no whole model.
        SettingsError: the settings ask for what the model or the device cannot do.
        MeasurementError: a figure cannot be right.
    """

    def describe() -> ModelDescription:
        description = describe_model(model.path, settings)
        for key, value in summary(description.plan).items():
            click.echo(f"{key:10}{value}", err=True)
        return description

    engine = load_engine(describe, short=[0] * SHORTEST)
    tasks = make_tasks(engine, workloads, rounds)
    longest = engine.model.plan.context_length
    total = sum(
        sum(min(length, longest) for length in workload.lengths) * tasks[key].rounds
        for key, workload in workloads.items()
    )
    with progress_bar(total, shown=sys.stderr.isatty(), unit=" tokens", desc="Measuring") as bar:
        beside = run_rounds(engine, list(tasks.values()), lambda task: bar.update(sum(task.lengths)))
    return bench_result(name, model.shape, engine, tasks, beside)


def make_tasks(engine: MeasuredEngine, workloads: Mapping[str, Workload], rounds: int | None) -> dict[str, Task]:
    model, plan = engine.model, engine.model.plan
    vocab, longest = model.spec.vocab, max(max(workload.lengths) for workload in workloads.values())
    if longest > plan.context_length:
        click.echo(f"Texts of up to {longest} tokens are cut to the context of {plan.context_length}.", err=True)
    special = TextTokenizer(model.description.path, vocab=vocab, end_token=model.embedding.end_token).special

    def batches_of(workload: Workload, number: int) -> Sequence[Texts]:
        texts = make_texts(
            workload.lengths,
            vocab=vocab,
            max_tokens=plan.context_length,
            number=number,
            prefix_tokens=workload.prefix_tokens,
            query_tokens=workload.query_tokens,
            suffix_tokens=workload.suffix_tokens,
            before=special.before,
            after=special.after,
        )
        return make_batches(texts, plan.max_batch_tokens, counter_of(model.description))

    return {
        name: Task(name, partial(batches_of, workload), rounds or workload.rounds, shares=workload.prefix_tokens > 0)
        for name, workload in workloads.items()
    }


def bench_result(
    name: str, shape: str | None, engine: MeasuredEngine, tasks: Mapping[str, Task], beside: Beside
) -> BenchResult:
    plan, kernels = engine.model.plan, engine.kernels
    workloads = {key: workload_result(task) for key, task in tasks.items()}
    peak_ops = median(beside.peaks) if beside.peaks else None
    share = None
    if peak_ops is not None and "throughput" in workloads:
        operations = matrix_operations(engine.model, tasks["throughput"].lengths)
        share = share_of_peak(operations / workloads["throughput"].median_s, peak_ops, "throughput")
    peak_rss_bytes, rss_bytes = resident_bytes()
    return BenchResult(
        model=name,
        shape=shape,
        format=plan.format.name,
        device=plan.device,
        cpu=cpu_name(),
        threads=plan.num_threads,
        kernels=None if kernels is None else kernels.isa,
        versions={
            "farthing": __version__,
            "numpy": installed_version("numpy") or "none",
            "torch": installed_version("torch") or "none",
        },
        date=date.today().isoformat(),
        load_s=engine.load_s,
        first_vector_s=engine.first_vector_s,
        peak_rss_bytes=peak_rss_bytes,
        rss_bytes=rss_bytes,
        gemm_peak_gops=None if peak_ops is None else peak_ops / 1e9,
        gemm_peak_share=share,
        cpus=os.cpu_count(),
        cores_elsewhere=beside.cores_elsewhere,
        workloads=workloads,
    )
