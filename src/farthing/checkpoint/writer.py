"""Writes checkpoints tensor by tensor, so that the largest model needs the memory of its largest tensor.

In: specifications of tensors, each with a function that makes its array. Out: a directory of safetensors shards, with
an index when there is more than one. safetensors' own writer wants all tensors of a file at once; the format (a length,
a JSON header, the raw bytes: https://github.com/huggingface/safetensors#format) is simple enough to stream.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from farthing.checkpoint.reader import INDEX
from farthing.core.arrays import NAMES, Array
from farthing.core.deferred import dataclass

DATA_ALIGNMENT = 64  # the format asks for 8; packed matrices, computed where they are mapped, need 64
SHARD_BYTES = 4_000_000_000


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to be written; `make` is called once, when its turn comes, for all of it or for its rows in pieces."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    make: Callable[[], Array | Iterator[Array]]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def write_tensors(
    directory: Path,
    specs: Sequence[TensorSpec],
    *,
    shard_bytes: int = SHARD_BYTES,
    on_tensor: Callable[[TensorSpec], object] | None = None,
) -> list[Path]:
    """Write model.safetensors, or model-0000N-of-0000M.safetensors and their index. Returns the files.

    Each file is written under a temporary name and renamed when whole. `on_tensor` is called after each tensor.
    """
    directory.mkdir(parents=True, exist_ok=True)
    shards = list(split(specs, shard_bytes))
    names = [shard_name(number, len(shards)) for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        partial = directory / f".{name}.partial"
        with partial.open("wb") as stream:
            write_shard(stream, shard, on_tensor)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(directory / name)
    (directory / INDEX).unlink(missing_ok=True)  # the index of an earlier, larger checkpoint there
    if len(shards) > 1:
        weight_map = {spec.name: name for name, shard in zip(names, shards, strict=True) for spec in shard}
        index = {"metadata": {"total_size": sum(spec.num_bytes for spec in specs)}, "weight_map": weight_map}
        (directory / INDEX).write_text(json.dumps(index, indent=1))
    return [directory / name for name in names]


def split(specs: Iterable[TensorSpec], shard_bytes: int) -> Iterator[list[TensorSpec]]:
    """Lists of consecutive tensors, as many in a shard as fit."""
    shard: list[TensorSpec] = []
    total = 0
    for spec in specs:
        if shard and total + spec.num_bytes > shard_bytes:
            yield shard
            shard, total = [], 0
        shard.append(spec)
        total += spec.num_bytes
    yield shard


def shard_name(number: int, count: int) -> str:
    return "model.safetensors" if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"


def write_shard(
    stream: BinaryIO, specs: Sequence[TensorSpec], on_tensor: Callable[[TensorSpec], object] | None
) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for spec in specs:
        header[spec.name] = {
            "dtype": NAMES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [offset, offset + spec.num_bytes],
        }
        offset += spec.num_bytes
    encoded = json.dumps(header).encode()
    length_bytes = 8
    encoded += b" " * (-(length_bytes + len(encoded)) % DATA_ALIGNMENT)
    stream.write(len(encoded).to_bytes(length_bytes, "little") + encoded)
    for spec in specs:
        write_tensor(stream, spec)
        if on_tensor is not None:
            on_tensor(spec)


def write_tensor(stream: BinaryIO, spec: TensorSpec) -> None:
    # This is a function of its own, so that the tensor is gone before the next one is made.
    made, num_values = spec.make(), 0
    for tensor in (made,) if isinstance(made, np.ndarray) else made:
        assert tensor.shape[1:] == spec.shape[1:] and tensor.dtype == spec.dtype, spec.name
        num_values += tensor.size
        stream.write(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    assert num_values == math.prod(spec.shape), spec.name
