"""`farthing bench`: the command and its options. The other modules of this package do the work."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from farthing.cli.bench.workloads import WORKLOADS
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.core.resolve import Resolved
from farthing.core.settings import EngineSettings, SourceSettings

DESCRIPTIONS = "; ".join(f"{name}: {workload.help}" for name, workload in WORKLOADS.items())
DEFAULT = tuple(name for name, workload in WORKLOADS.items() if workload.by_default)


@click.command("bench", cls=SettingsCommand)
@click.argument("model", metavar="MODEL_OR_SHAPE")
@click.option(
    "--workload",
    "names",
    type=click.Choice(tuple(WORKLOADS)),
    multiple=True,
    default=DEFAULT,
    help=f"What to measure, may be repeated; lengths in tokens. {DESCRIPTIONS} [default: {', '.join(DEFAULT)}].",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="Timed runs of each workload, after a warm-up; the median counts [default: 5; long: 1].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line last.")
@settings_options(SourceSettings, EngineSettings)
def bench(model: str, names: tuple[str, ...], rounds: int | None, as_json: bool, settings: Resolved) -> None:
    """Measure how fast a model runs on this machine: the engine alone, without tokenising, HTTP and queues.

    MODEL_OR_SHAPE is a model as `serve` takes it: an id on the Hugging Face hub (Qwen/Qwen3-Embedding-0.6B),
    modelscope:ID, starter, or a local folder. Or it is the shape of a published model: qwen3-0.6b, qwen3-4b, qwen3-8b,
    qwen3-tiny, or a reranker (qwen3-reranker-0.6b ...). A shape gets random weights, which are made once and kept in
    the cache; its speed and memory are those of the published model.

    Texts longer than the model's context are cut to it.
    """
    # Imported here, so that the help comes without loading torch.
    from farthing.cli.bench.model import find_bench_model
    from farthing.cli.bench.report import report_lines
    from farthing.cli.bench.run import run_bench
    from farthing.engine.plan.device import device_facts

    engine = settings.group(EngineSettings)
    device_facts(engine.device)  # raises for an unknown device, which should not wait until weights are made
    found = find_bench_model(model, settings.group(SourceSettings))
    chosen = {name: workload for name, workload in WORKLOADS.items() if name in names}
    result = run_bench(model, found, engine, chosen, rounds)
    for line in report_lines(result):
        click.echo(line)
    if as_json:
        click.echo(json.dumps(asdict(result)))
