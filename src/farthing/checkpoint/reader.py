"""A model's folder: its JSON files, and its safetensors read tensor by tensor through the page cache.

In: a local directory in the Hugging Face layout. Out: parsed JSON, tensor shapes without reading weights, and single
memory-mapped tensors. It knows nothing of model families, reads no pickles and runs no code of the checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from farthing.core.errors import CheckpointError


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor is and what it looks like; `dtype` is safetensors' own name ("F32", "BF16", ...)."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


class Checkpoint:
    """A checkpoint directory.

    Raises:
        CheckpointError: on construction, when config.json is missing or broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        config = self.json("config.json")
        if not isinstance(config, dict):
            raise CheckpointError(f"{path} has no config.json. Point at the folder of a Hugging Face style checkpoint.")
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
        """Every tensor of the checkpoint by name, from the file headers alone."""
        found: dict[str, TensorInfo] = {}
        for file in self._weight_files():
            try:
                with safe_open(file, framework="pt") as shard:
                    for name in shard.keys():  # noqa: SIM118 - not a mapping
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

    @cached_property
    def fingerprint(self) -> str:
        """Digest of config, tensor names and shapes, and the first KiB of every weight file's data and its end.

        Tells different models and fine-tunes apart without reading gigabytes; not a defence against forgery.
        """
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for name, info in sorted(self.tensors.items()):
            digest.update(f"{name} {info.shape} {info.dtype}\n".encode())
        for file in self._weight_files():
            digest.update(str(file.stat().st_size).encode())
            with file.open("rb") as stream:
                header_bytes = int.from_bytes(stream.read(8), "little")
                for offset in sample_offsets(8 + header_bytes, file.stat().st_size):
                    stream.seek(offset)
                    digest.update(stream.read(1024))
        return digest.hexdigest()[:16]

    def _weight_files(self) -> list[Path]:
        """The shards that the index names, or the only *.safetensors there are."""
        index = self.json("model.safetensors.index.json")
        if index is not None:
            names = sorted(set(index["weight_map"].values()))
            missing = [name for name in names if not (self.path / name).is_file()]
            if missing:
                raise CheckpointError(f"{self.path} lacks {', '.join(missing)}. Download the model again.")
            return [self.path / name for name in names]
        files = sorted(self.path.glob("*.safetensors"))
        if not files:
            raise CheckpointError(
                f"{self.path} has no *.safetensors. Only safetensors are read, never pickled weights "
                "(pytorch_model.bin): convert the model, or take one that offers safetensors."
            )
        return files


def sample_offsets(start: int, end: int, count: int = 64) -> range:
    """`count` places spread evenly over a file's data."""
    return range(start, end, max(1024, (end - start) // count))
