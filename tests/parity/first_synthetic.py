"""The synthetic weights of version 0.1, which torch's generator made: recorded vectors are of a model with these."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch

from farthing.checkpoint.writer import TensorSpec, write_tensors
from farthing.core.arrays import BF16, Array
from farthing.models.synth.checkpoint import Shape, distribution, layout_of, write_synthetic


def write_first_synthetic(shape: Shape, directory: Path) -> None:
    """What `farthing synth` of version 0.1 wrote for an embedder, with seed 0 and without outliers."""
    write_synthetic(shape, directory)
    write_tensors(
        directory,
        [
            TensorSpec(name, size, BF16, lambda name=name, size=size: tensor(name, size))  # type: ignore[misc]
            for name, size in layout_of(shape).tensors()
        ],
    )


def tensor(name: str, size: tuple[int, ...]) -> Array:
    source = torch.Generator().manual_seed(zlib.crc32(name.encode(), 0))
    made = torch.empty(size, dtype=torch.bfloat16).normal_(*distribution(name, size), generator=source)
    numbers: Array = made.view(torch.int16).numpy()
    return numbers.view(np.uint16)
