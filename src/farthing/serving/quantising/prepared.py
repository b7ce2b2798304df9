"""Models in a format that quantises, prepared once: their weights are rounded into a folder of the cache, and mapped
from there ever after.

In: the description of an exact model whose plan rounds its weights on a CPU. Out: the description to load, of the
prepared folder. How close it is to the exact model is measured when it is made, and where it is under the floor, a
model that nobody asked to round stays exact; so does one that makes no numbers of the sample. Where no folder can be
written, weights are rounded in memory at every start.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from farthing.checkpoint.manifest import Manifest, read_manifest
from farthing.core.errors import CheckpointError, NonFiniteError, SettingsError
from farthing.core.files import FARTHING_CACHE, cache_folder
from farthing.core.progress import OnStep, untold
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.plan.ledger import stored_weight_bytes, table_bytes
from farthing.models.config import is_synthetic
from farthing.models.forward.heads import Task
from farthing.serving.quantising.closeness import in_words

if TYPE_CHECKING:
    from filelock import FileLock

    from farthing.checkpoint.writer import TensorSpec

FOLDER = "prepared"
# The version of how folders are made; raised when the same model would be rounded otherwise.
RULES = 1
NAME_CHARS = 60
WAIT_SAID_S = 2.0
MEASURED_TOKENS = 1200  # the 0.6B computes some 200 a second in fp32, and somebody waits

logger = logging.getLogger(__name__)


def prepared(
    model: str,
    description: ModelDescription,
    settings: EngineSettings,
    source: SourceSettings,
    task: Task,
    on_step: OnStep = untold,
) -> ModelDescription:
    """The description to load: the given one, where nothing has to be prepared.

    Raises:
        SettingsError: weights are to be read from disk for each batch, and no folder of them can be written; or the
            format that was asked for is under the floor.
    """
    plan = description.plan
    if not (plan.is_native and plan.format.quantises) or description.manifest is not None:
        return description
    try:
        folder = make(model, description, source, task, on_step)
    except NonFiniteError as error:
        logger.warning("%s was not rounded to %s: %s", model, plan.format.name, error)
        return describe_model(description.path, replace(settings, format="none"), task)
    except OSError as error:
        if plan.residency == "disk":
            raise SettingsError(
                f"{model} is to be read from disk in {plan.format.name}, which cannot be written to the cache: "
                f"{error}. Give a folder with room as --cache-dir, or write one: farthing quantize MODEL OUT.",
                param="cache_dir",
            ) from error
        logger.warning("%s is rounded to %s in memory, at every start: %s", model, plan.format.name, error)
        return description
    manifest = read_manifest(folder)
    assert manifest is not None, "a prepared folder is whole"
    if settings.format == "auto" and is_too_far(manifest, description, settings):
        logger.warning(
            "%s stays exact: in %s its vectors would be too far from the exact ones (%s; min_fidelity is %g).",
            model,
            plan.format.name,
            in_words(manifest.closeness),
            settings.min_fidelity,
        )
        return describe_model(description.path, replace(settings, format="none"), task)
    return describe_model(folder, replace(settings, format="auto"), task)


def is_too_far(manifest: Manifest, description: ModelDescription, settings: EngineSettings) -> bool:
    if manifest.closeness is None or is_synthetic(description.checkpoint.config):
        return False
    return manifest.closeness["cosine_mean"] < settings.min_fidelity


def make(model: str, description: ModelDescription, source: SourceSettings, task: Task, on_step: OnStep) -> Path:
    """The prepared folder, which is made if it is not there. Raises `OSError` where it cannot be written."""
    folder = folder_of(description, source, task)
    if is_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_room(description, folder.parent)
    with waiting(folder):
        if not is_whole(folder):  # another process may have made it meanwhile
            write(model, description, folder, task, on_step)
    return folder


def folder_of(description: ModelDescription, source: SourceSettings, task: Task) -> Path:
    """Where the folder is: the same for the same weights, tokenizer and configuration, whatever the model is called."""
    form, path = description.plan.format, description.path
    name = "".join(char if char.isalnum() or char in "-._" else "-" for char in path.stem)[:NAME_CHARS]
    facts = [name, description.checkpoint.fingerprint, form.name, *description.layout.finer_parts(form)]
    facts += [f"v{RULES}"] if task == "embed" else [task, f"v{RULES}"]
    return cache_folder(source.cache_dir, FARTHING_CACHE, "HOME") / FOLDER / "-".join(facts)


def is_whole(folder: Path) -> bool:
    """Whether the folder can be used; one that is damaged is made again."""
    try:
        return read_manifest(folder) is not None
    except CheckpointError as error:
        logger.warning("A prepared model is made again: %s", error)
        shutil.rmtree(folder, ignore_errors=True)
        return False


def check_room(description: ModelDescription, folder: Path) -> None:
    """Raise `OSError` where the disk has no room for the weights."""
    needed = stored_weight_bytes(description.layout, description.plan.format) + table_bytes(description.spec)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{folder} has room for {free / 2**20:,.0f} MiB, and {needed / 2**20:,.0f} MiB are needed")


def waiting(folder: Path) -> FileLock:
    """The lock of those who make this folder; taken, since others wait until it is there."""
    from filelock import FileLock, Timeout  # not for those who find the folder made

    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=WAIT_SAID_S)
    except Timeout:
        logger.info("Waiting for another process that prepares %s.", folder.name)
        lock.acquire()
    return lock


def write(model: str, description: ModelDescription, folder: Path, task: Task, on_step: OnStep) -> None:
    # Not for those who find the folder made.
    from farthing.serving.quantising.calibration import Calibration
    from farthing.serving.quantising.closeness import quick_sample
    from farthing.serving.quantising.quantise import partial_folder, settle, write_folder

    form = description.plan.format.name
    exact = EngineSettings(
        format=form, device="cpu", memory="none", min_fidelity=0.0, num_threads=description.plan.num_threads
    )
    written, total = 0, stored_weight_bytes(description.layout, description.plan.format) + table_bytes(description.spec)

    def on_tensor(spec: TensorSpec) -> None:
        nonlocal written
        written = min(total, written + spec.num_bytes)
        on_step(f"Rounding {model} to {form}, once", written, total)

    with partial_folder(folder) as partial:
        write_folder(
            describe_model(description.path, exact, task),
            partial,
            model,
            True,
            Calibration(measured=quick_sample(), most_measured_tokens=MEASURED_TOKENS),
            on_tensor,
            lambda done, count: on_step(f"Measuring how close {model} is in {form}", done, count),
        )
        settle(partial, folder)
