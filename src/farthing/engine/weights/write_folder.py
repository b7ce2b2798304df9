"""Writes a folder of quantised weights, matrix by matrix.

In: the description of an exact model in a format that quantises. Out: a folder that loads as the model does, with the
source's configuration and tokenizer beside the weights. Writing takes the memory of the largest matrix or, where
matrices are calibrated, what `farthing.engine.weights.calibration_memory` counts. How close the result is to the exact
model is not measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from farthing.checkpoint.manifest import Manifest
from farthing.checkpoint.reader import Checkpoint
from farthing.checkpoint.table import pieces
from farthing.checkpoint.writer import TensorSpec, write_tensors
from farthing.core.arrays import Array
from farthing.engine.describe import ModelDescription
from farthing.engine.memory import trim_heap
from farthing.engine.weights.calibrate import CalibratedTensors
from farthing.engine.weights.convert import ConvertedTensors
from farthing.engine.weights.quantised_folder import StoredTensor, stored_tensors


def write_quantised(
    description: ModelDescription,
    folder: Path,
    *,
    source: str,
    farthing_version: str,
    on_tensor: Callable[[TensorSpec], object] | None = None,
    calibration: Sequence[Sequence[int]] = (),
) -> Manifest:
    """Write everything but the manifest, and return the manifest; a folder without one is not taken for a model.

    Args:
        calibration: texts as token ids to adapt the rounding to, in a format that can be calibrated.

    Raises:
        CheckpointError: the tensors do not fit the description.
        NonFiniteError: the model makes NaN or Inf of the calibration texts.
    """
    tensors = CalibratedTensors(description, calibration) if calibration else ConvertedTensors(description)

    def make(stored: StoredTensor) -> Array:
        trim_heap()
        return stored.take(tensors)

    specs = [
        TensorSpec(stored.name, stored.shape, stored.dtype, partial(make, stored))
        for stored in stored_tensors(description.layout, description.plan.format)
    ]
    part, table = description.layout.table, tensors.table()
    specs.append(TensorSpec(part.source, part.shape, table.dtype, partial(pieces, table)))
    write_tensors(folder, specs, on_tensor=on_tensor)
    description.checkpoint.write_configuration(folder)
    return Manifest(
        format=description.plan.format.name,
        int8_parts=description.layout.finer_parts(description.plan.format),
        gains_folded=any(part.gain for part in description.layout.matrices),
        rotated=description.rotation is not None,
        source=source,
        source_fingerprint=description.checkpoint.fingerprint,
        folder_fingerprint=Checkpoint(folder).fingerprint,
        farthing_version=farthing_version,
    )
