"""Finds the model to measure: one that `serve` takes, or the shape of one with synthetic weights.

In: the name that the user gave. Out: a folder with a checkpoint. Synthetic weights are made once and kept in the cache.
"""

from __future__ import annotations

import difflib
import shutil
import sys
from pathlib import Path

import click
from filelock import FileLock

from farthing.core.deferred import dataclass
from farthing.core.errors import ModelNotFoundError
from farthing.core.files import FARTHING_CACHE, cache_folder
from farthing.core.progress import progress_bar
from farthing.core.settings import SourceSettings
from farthing.models.synth.checkpoint import SHAPES, num_parameters, write_synthetic
from farthing.sources.find import find_model
from farthing.sources.local import local_folder

MODELS = "a local folder, an id on a hub (Qwen/Qwen3-Embedding-0.6B), modelscope:ID, starter"


@dataclass(frozen=True)
class BenchModel:
    """`shape` is the name of the shape where the weights are synthetic, else None."""

    path: Path
    shape: str | None


def find_bench_model(name: str, settings: SourceSettings) -> BenchModel:
    """Return the local folder of that name, else the shape of that name, else the model of that name on a hub.

    Raises:
        ModelNotFoundError: there is none of these; the message lists both shapes and kinds of models.
    """
    if local_folder(name) is None:
        shape = shape_name(name)
        if shape is not None:
            return BenchModel(synthetic_checkpoint(shape, settings), shape)
        check_mistyped(name)
    try:
        return BenchModel(find_model(name, settings).path, None)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f"{error}\n{choices()}") from error


def check_mistyped(name: str) -> None:
    """Raise `ModelNotFoundError` for a name that is nearly a shape's: no hub needs to be asked about it."""
    near = difflib.get_close_matches(name.lower(), SHAPES, n=1, cutoff=0.8)
    if near and "/" not in name:
        raise ModelNotFoundError(f"There is no shape {name!r}. Did you mean {near[0]!r}?\n{choices()}")


def shape_name(name: str) -> str | None:
    """Return the shape that is meant by a name in any case, with or without "qwen3-"; None if it is no shape."""
    return next((key for key in (name.lower(), f"qwen3-{name.lower()}") if key in SHAPES), None)


def choices() -> str:
    return f"Shapes, with synthetic weights: {', '.join(SHAPES)}.\nModels: {MODELS}."


def synthetic_checkpoint(shape: str, settings: SourceSettings) -> Path:
    """Return the folder of the shape's synthetic checkpoint, which is made if it does not exist yet.

    The folder gets its name only when it is whole. Of two processes that want it, one makes it and the other waits.
    """
    root = cache_folder(settings.cache_dir, FARTHING_CACHE, "HOME") / "synthetic"
    folder, partial = root / shape, root / f".{shape}.partial"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{shape}.lock"):
        if not folder.is_dir():
            shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
            try:
                write_with_progress(shape, partial)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    click.echo(f"Synthetic weights in {folder}", err=True)
    return folder


def write_with_progress(shape: str, folder: Path) -> None:
    wanted = SHAPES[shape]
    with progress_bar(
        2 * num_parameters(wanted), shown=sys.stderr.isatty(), unit="B", unit_scale=True, desc=f"Making {shape}"
    ) as bar:
        write_synthetic(wanted, folder, on_tensor=lambda spec: bar.update(spec.num_bytes))
