"""A model's folder: its JSON files, and its safetensors read tensor by tensor through the page cache.

In: a local directory in the Hugging Face layout. Out: parsed JSON, tensor shapes without reading weights, and single
memory-mapped tensors. It knows nothing of model families, reads no pickles and runs no code of the checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from farthing.checkpoint.table import Table
from farthing.checkpoint.writer import INDEX
from farthing.core.errors import CheckpointError


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor is and what it looks like when it is read.

    Attributes:
        dtype: safetensors' own name ("F32", "BF16", ...).
        packed_as: what the file holds instead, where reading dequantises ("Q4_K", "4 bits").
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str
    packed_as: str | None = None


class Checkpoint:
    """A checkpoint directory of safetensors.

    Raises:
        CheckpointError: on construction, when config.json is missing or broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        config = self.json("config.json")
        if config is None:
            raise CheckpointError(f"{path} has no config.json. Point at the folder of a Hugging Face style checkpoint.")
        if not isinstance(config, dict):
            raise CheckpointError(f"{path / 'config.json'} holds no JSON object. Download the model again.")
        self.config: dict[str, Any] = config

    def json(self, name: str) -> Any:
        """The parsed file, or None when there is none of that name."""
        file = self.path / name
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}. Download the model again.") from error

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the checkpoint by name, from the file headers alone.

        Raises:
            CheckpointError: no weight files, one is missing or broken, or two hold a tensor of the same name.
        """
        found: dict[str, TensorInfo] = {}
        for file in self._weight_files():
            try:
                with safe_open(file, framework="pt") as shard:
                    for name in shard.keys():  # noqa: SIM118 - not a mapping
                        if name in found:
                            raise CheckpointError(
                                f"{file} and {found[name].file.name} both hold {name}. Keep one set of weights there."
                            )
                        view = shard.get_slice(name)
                        found[name] = TensorInfo(file, tuple(view.get_shape()), view.get_dtype())
            except (SafetensorError, OSError) as error:
                raise CheckpointError(
                    f"{file} is not a whole safetensors file ({error}). Download it again."
                ) from error
        return found

    def read(self, name: str) -> torch.Tensor:
        """The tensor as stored, mapped from the file; its pages are given back when the tensor is freed.

        Each call maps the file anew: a mapping that outlived its tensor would keep every page read so far resident.
        """
        with safe_open(self.tensors[name].file, framework="pt") as shard:
            tensor = shard.get_tensor(name)
        assert isinstance(tensor, torch.Tensor)
        return tensor

    def rows(self, name: str) -> Table:
        """As `read`: a mapped tensor's rows are gathered where they lie."""
        return self.read(name)

    def map(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Tensors as stored, by name, on one mapping of each file, which lives as long as any of them."""
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self.tensors[name].file, []).append(name)
        found: dict[str, torch.Tensor] = {}
        for file, held in by_file.items():
            with safe_open(file, framework="pt") as shard:
                found.update({name: shard.get_tensor(name) for name in held})
        return found

    @cached_property
    def fingerprint(self) -> str:
        """Digest of config, tensor names and shapes, and 64 pieces of 1 KiB spread over every weight file's data.

        Tells different models and fine-tunes apart without reading gigabytes; a few changed numbers in a large file
        may escape it, and it is no defence against forgery.
        """
        return digest_weights(self.config, self.tensors, {file: data_start(file) for file in self._weight_files()})

    def write_configuration(self, folder: Path) -> None:
        """Copy the JSON files that say what the model is, how its vectors are made and how it splits texts."""
        for file in [*self.path.glob("*.json"), *self.path.glob("*/config.json")]:
            if file.name != INDEX:
                copy = folder / file.relative_to(self.path)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, copy)  # a hub's cache holds links, which this follows

    def _weight_files(self) -> list[Path]:
        """The shards that the index names, else model.safetensors, else all *.safetensors there are."""
        index = self.json("model.safetensors.index.json")
        if index is not None:
            names = shard_names(index, self.path)
            missing = [name for name in names if not (self.path / name).is_file()]
            if missing:
                raise CheckpointError(f"{self.path} lacks {', '.join(missing)}. Download the model again.")
            return [self.path / name for name in names]
        single = self.path / "model.safetensors"
        files = [single] if single.is_file() else sorted(self.path.glob("*.safetensors"))
        if not files:
            raise CheckpointError(
                f"{self.path} has no *.safetensors. Only safetensors are read, never pickled weights "
                "(pytorch_model.bin): convert the model, or take one that offers safetensors."
            )
        return files


def shard_names(index: Any, path: Path) -> list[str]:
    """The files that a parsed model.safetensors.index.json names."""
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(
            f"{path / 'model.safetensors.index.json'} maps no tensors to files (weight_map). Download the model again."
        )
    return sorted(set(weight_map.values()))


def data_start(file: Path) -> int:
    """Where the tensors begin in a safetensors file."""
    with file.open("rb") as stream:
        return 8 + int.from_bytes(stream.read(8), "little")


def digest_weights(config: Mapping[str, Any], tensors: Mapping[str, TensorInfo], data: Mapping[Path, int]) -> str:
    """What `Checkpoint.fingerprint` says; `data` holds each weight file with the place where its tensors begin."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name, info in sorted(tensors.items()):
        digest.update(f"{name} {info.shape} {info.dtype}\n".encode())
    for file, start in data.items():
        digest.update(str(file.stat().st_size).encode())
        with file.open("rb") as stream:
            for offset in sample_offsets(start, file.stat().st_size):
                stream.seek(offset)
                digest.update(stream.read(1024))
    return digest.hexdigest()[:16]


def sample_offsets(start: int, end: int, count: int = 64) -> range:
    """`count` places spread evenly over a file's data."""
    return range(start, end, max(1024, (end - start) // count))
