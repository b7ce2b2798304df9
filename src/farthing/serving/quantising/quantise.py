"""From a model to a folder of its quantised weights, with how close they are to the exact ones.

In: a model's name and an empty place. Out: a folder that loads like any model. The folder is made under another name
beside its place and renamed when it is whole, so that a job that breaks off leaves nothing that could be taken for a
model.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout

from farthing.checkpoint.manifest import Manifest
from farthing.checkpoint.writer import TensorSpec
from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.core.version import __version__
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.weights.load import load_model
from farthing.engine.weights.write_folder import write_quantised
from farthing.models.forward.heads import Task
from farthing.serving.quantising.calibration import Calibration, CalibrationTexts, choose_calibration
from farthing.serving.quantising.closeness import OnTexts, measure_closeness
from farthing.sources.find import find_model

MARK = ".quantising"


def quantise_model(
    model: str,
    out: Path,
    source: SourceSettings,
    *,
    format: str,
    measure: bool,
    on_tensor: Callable[[TensorSpec], object] | None = None,
    task: Task | None = None,
    calibrate: bool | None = None,
    calibration: CalibrationTexts | None = None,
    on_texts: OnTexts = lambda *_: None,
) -> Manifest:
    """Write `out`, a new or empty folder; `on_tensor` is called after each tensor, `on_texts` while it is measured.

    A model that could do both tasks is written for vectors when `task` does not say otherwise. It is calibrated if its
    format can be, unless `calibrate` forbids it or it would take too much: with the caller's texts, else with built-in
    ones.

    Raises:
        SettingsError: `out` is in use, the model is quantised already, or it cannot be calibrated, as was asked.
        ModelError: the model cannot be found or used.
    """
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} exists and is not an empty folder; name another one.", param="out")
    path = find_model(model, source).path
    settings = EngineSettings(format=format, device="cpu", memory="none", min_fidelity=0.0)
    description = describe_model(path, settings, task)
    if description.manifest is not None:
        raise SettingsError(
            f"{path} is quantised to {description.manifest.format} already. Quantise {description.manifest.source}, "
            "from which it was made.",
            param="model",
        )
    chosen = choose_calibration(description, calibrate, calibration)
    with partial_folder(out) as partial:
        manifest = write_folder(description, partial, model, measure, chosen, on_tensor, on_texts)
        settle(partial, out)
    return manifest


def settle(partial: Path, out: Path) -> None:
    """Give a whole folder its name; an empty folder of that name makes way."""
    if out.exists():
        out.rmdir()
    partial.rename(out)
    (out / MARK).unlink()


@contextmanager
def partial_folder(out: Path) -> Iterator[Path]:
    """An empty folder beside `out` that nobody else writes to; it is removed unless it was given another name.

    Raises `SettingsError` when another process writes to it, or something else has its name.
    """
    partial = out.with_name(f".{out.name}.partial")
    is_there = os.path.lexists(partial)
    is_folder = is_there and partial.is_dir() and not partial.is_symlink()
    if is_there and not (is_folder and ((partial / MARK).is_file() or not any(partial.iterdir()))):
        raise SettingsError(
            f"{partial} is in the way: Farthing did not make it. Move it, or name another OUT.", param="out"
        )
    partial.mkdir(parents=True, exist_ok=True)
    lock = FileLock(partial / MARK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise SettingsError(f"Another process is writing {out}. Wait until it ends.", param="out") from error
    try:
        for path in partial.iterdir():  # of a run that was killed
            if path.name != MARK:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        yield partial
    finally:
        if partial.exists():
            shutil.rmtree(partial)
        lock.release()


def write_folder(
    description: ModelDescription,
    folder: Path,
    source: str,
    measure: bool,
    calibration: Calibration,
    on_tensor: Callable[[TensorSpec], object] | None,
    on_texts: OnTexts,
) -> Manifest:
    manifest = write_quantised(
        description,
        folder,
        source=source,
        farthing_version=__version__,
        on_tensor=on_tensor,
        calibration=calibration.tokens,
    )
    manifest = replace(manifest, calibration=calibration.facts)
    manifest.write(folder)
    if measure:
        task: Task = "embed" if description.head is None else "rerank"
        quantised = load_model(folder, EngineSettings(min_fidelity=0.0), task)
        closeness = measure_closeness(
            description.path, quantised, calibration.measured, on_texts, calibration.most_measured_tokens
        )
        manifest = replace(manifest, closeness=asdict(closeness))
        manifest.write(folder)
    return manifest
