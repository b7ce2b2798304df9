"""Reads a checkpoint folder that MLX quantised, and dequantises it tensor by tensor.

In: safetensors with `.weight` packed into uint32, `.scales` and `.biases`, and config.json's "quantization". Out: the
tensors under their usual names, fp32. A value is scale * q + bias, with one scale and bias for each group of a row, and
q packed from the lowest bits up
(https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html).
Not supported: widths that straddle bytes (3, 5, 6 bits), and the floating-point modes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from farthing.checkpoint.quantiser import MLX
from farthing.checkpoint.reader import Checkpoint, TensorInfo
from farthing.checkpoint.table import Dequantise, QuantisedTable, Table, dequantised
from farthing.core.arrays import Array, to_float32
from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError

BITS = (2, 4, 8)
SETTINGS = (MLX, "quantization_config")  # MLX writes both, with the same content


@dataclass(frozen=True)
class Packing:
    """How a matrix [rows, width] is packed: `bits` for a value, a scale and a bias for `group_size` values of a row."""

    rows: int
    width: int
    bits: int
    group_size: int


class MlxCheckpoint:
    """`ModelFiles` of a folder whose config.json has "quantization"."""

    def __init__(self, folder: Checkpoint) -> None:
        self._folder = folder
        self.path, self.config = folder.path, folder.config

    def json(self, name: str) -> Any:
        return self._folder.json(name)

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """The tensors by name, as `read` gives them. Raises `CheckpointError` for what `packings` refuses."""
        found = dict(self._folder.tensors)
        for stem, packing in self._packings.items():
            file = found[f"{stem}.weight"].file
            found[f"{stem}.weight"] = TensorInfo(file, (packing.rows, packing.width), "F32", f"{packing.bits} bits")
            del found[f"{stem}.scales"], found[f"{stem}.biases"]
        return found

    def read(self, name: str) -> Array:
        """The tensor as stored, mapped from the file, or dequantised to fp32."""
        stem = name.removesuffix(".weight")
        packing = self._packings.get(stem)
        if packing is None:
            return self._folder.read(name)
        return dequantised(packing.rows, packing.width, self._dequantise(stem, packing))

    def rows(self, name: str) -> Table:
        """The matrix for gathering rows, which are only then dequantised; the file stays mapped."""
        stem = name.removesuffix(".weight")
        packing = self._packings.get(stem)
        if packing is None:
            return self._folder.rows(name)
        return QuantisedTable(packing.rows, packing.width, self._dequantise(stem, packing))

    @property
    def fingerprint(self) -> str:
        return self._folder.fingerprint

    def write_configuration(self, folder: Path) -> None:
        """Write the folder's own configuration, without the note that its weights are quantised."""
        self._folder.write_configuration(folder)
        config = {key: value for key, value in self.config.items() if key not in SETTINGS}
        (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")

    @cached_property
    def _packings(self) -> Mapping[str, Packing]:
        return packings(self.config[SETTINGS[0]], self._folder.tensors)

    def _dequantise(self, stem: str, packing: Packing) -> Dequantise:
        packed, scales, biases = (self._folder.read(f"{stem}.{part}") for part in ("weight", "scales", "biases"))
        octets = packed.view(np.uint8)  # little-endian, so that the lowest bits come first
        return lambda rows: dequantise(octets[rows], scales[rows], biases[rows], packing)


def packings(settings: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> dict[str, Packing]:
    """The matrices that have scales, by stem.

    Args:
        settings: config.json's "quantization": `bits` and `group_size`, and by stem whatever differs from them.

    Raises:
        CheckpointError: a matrix is of a kind that is not supported, or tensors do not fit each other.
    """
    found = {}
    for name in tensors:
        stem, _, part = name.rpartition(".")
        if part != "scales":
            continue
        own = settings.get(stem)
        chosen = {**settings, **(own if isinstance(own, dict) else {})}
        bits, group_size, mode = (chosen.get(key) for key in ("bits", "group_size", "mode"))
        if bits not in BITS or type(group_size) is not int or group_size < 1 or mode not in (None, "affine"):
            bits, group_size, mode = (str(fact)[:100] for fact in (bits, group_size, mode or "affine"))
            raise CheckpointError(
                f"{stem} is quantised by MLX to {bits} bits in groups of {group_size}, mode {mode}; built "
                f"are {', '.join(map(str, BITS))} bits in mode affine. Take a copy with one of these."
            )
        packed, scales, biases = (tensors.get(f"{stem}.{part}") for part in ("weight", "scales", "biases"))
        rows, num_groups = (*tensors[name].shape, 0, 0)[:2]
        shape = (rows, num_groups * group_size * bits // 32)
        if not (packed and scales and biases) or (packed.shape, packed.dtype, biases.shape) != (
            shape,
            "U32",
            scales.shape,
        ):
            raise CheckpointError(
                f"{stem}: weight, scales and biases do not fit {bits} bits in groups of {group_size}, as config.json "
                "says. Download the model again."
            )
        found[stem] = Packing(rows, num_groups * group_size, bits, group_size)
    return found


def dequantise(octets: Array, scales: Array, biases: Array, packing: Packing) -> Array:
    """Dequantise octets [n, width * bits / 8] uint8 to values [n, width] fp32; scales and biases are [n, groups]."""
    shifts, mask = np.arange(0, 8, packing.bits, dtype=np.uint8), np.uint8(2**packing.bits - 1)
    values = (octets[..., None] >> shifts) & mask
    groups: Array = values.reshape(len(octets), -1, packing.group_size).astype(np.float32)
    groups *= to_float32(scales)[..., None]
    groups += to_float32(biases)[..., None]
    return groups.reshape(len(octets), packing.width)
