"""`farthing synth`: writes a synthetic checkpoint in the shape of a published model."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from farthing.cli.common.commands import Command
from farthing.core.errors import SettingsError
from farthing.core.progress import progress_bar


@click.command(
    cls=Command,
    epilog="farthing synth qwen3-0.6b ./synth-0.6b\nfarthing serve ./synth-0.6b",
)
@click.argument("shape")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--layers", type=click.IntRange(min=1), help="Fewer (or more) layers than the published model.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random weights.")
@click.option("--outliers", is_flag=True, help="Enlarge a few channels behind each norm, as trained models have.")
def synth(shape: str, directory: Path, layers: int | None, seed: int, outliers: bool) -> None:
    """Write a checkpoint of SHAPE with random weights to DIRECTORY, to measure this machine with.

    SHAPE is qwen3-0.6b, qwen3-4b, qwen3-8b, qwen3-tiny, or a reranker (qwen3-reranker-0.6b ...). The vectors of such a
    model mean nothing; its speed and memory are those of the published model.
    """
    from farthing.models.synth.checkpoint import find_shape, num_parameters, write_synthetic

    wanted = find_shape(shape)
    if layers is not None:
        wanted = replace(wanted, num_layers=layers)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise SettingsError(f"{directory} exists and is not an empty folder; name another one.", param="directory")
    with progress_bar(
        2 * num_parameters(wanted), shown=sys.stderr.isatty(), unit="B", unit_scale=True, desc=shape
    ) as bar:
        write_synthetic(
            wanted, directory, seed=seed, outliers=outliers, on_tensor=lambda spec: bar.update(spec.num_bytes)
        )
    click.echo(f"Wrote {num_parameters(wanted) / 1e9:.2f} billion parameters to {directory}")
