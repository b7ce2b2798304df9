"""Writing a folder of quantised weights, matrix by matrix: it takes the memory of the largest one.

In: the description of an exact model in a format that quantises. Out: a folder that loads as the model does, with the
source's configuration and tokenizer beside the weights. It does not measure how close the result is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from farthing.checkpoint.manifest import Manifest
from farthing.checkpoint.writer import INDEX, TensorSpec, write_tensors
from farthing.engine.convert import ConvertedTensors
from farthing.engine.describe import ModelDescription
from farthing.engine.memory import trim_heap
from farthing.engine.prepared import StoredTensor, stored_tensors


def write_quantised(
    description: ModelDescription,
    folder: Path,
    *,
    source: str,
    farthing_version: str,
    on_tensor: Callable[[TensorSpec], object] | None = None,
) -> Manifest:
    """Write everything but the manifest, and return that: a folder without it is not taken for a model.

    Raises:
        CheckpointError: the tensors do not fit the description.
    """
    tensors = ConvertedTensors(description)

    def make(stored: StoredTensor) -> torch.Tensor:
        trim_heap()
        return stored.take(tensors)

    specs = [
        TensorSpec(stored.name, stored.shape, stored.dtype, partial(make, stored))
        for stored in stored_tensors(description.layout, description.plan.format)
    ]
    table = description.layout.table
    specs.append(TensorSpec(table.source, table.shape, tensors.table().dtype, tensors.table))
    write_tensors(folder, specs, on_tensor=on_tensor)
    copy_configuration(description.path, folder)
    return Manifest(
        format=description.plan.format.name,
        gains_folded=any(part.gain for part in description.layout.matrices),
        rotated=description.rotation is not None,
        source=source,
        source_fingerprint=description.checkpoint.fingerprint,
        farthing_version=farthing_version,
    )


def copy_configuration(source: Path, folder: Path) -> None:
    """The JSON files that say what the model is, how its vectors are made and how it splits texts."""
    for file in [*source.glob("*.json"), *source.glob("*/config.json")]:
        if file.name != INDEX:
            copy = folder / file.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, copy)  # a hub's cache holds links, which this follows
